"""The pump: the one place in an actor's process that waits, for messages as for all else.

It keeps a connection to the router (transport/zmtp.py), watches plain descriptors (control channel,
pidfds, FIFOs) and keeps timers, so that a process needs no further thread for waiting. Whoever turns it
is the pump's thread for that time: always the same, or several in turn, of which each has to know that
the one before it has done. What is sent goes to the kernel at once, from any thread, if it can; what has
to wait is queued, and an eventfd ends the wait of a pump that waits. What arrives is handed on by a
callback that must not block. An exception in a callback ends the turn: let it crash.

It announces its actor with HELLO whenever a connection comes up: to the first router and to each that
follows it. When a connection breaks, a message that the kernel had taken whole is not sent again, since
its request may have been heard; one that it had taken in part cannot have been, and is.

It waits with poll, not epoll: with a handful of descriptors that costs the same, and poll has no memory
of a FIFO of which a closed copy lives on in the zygote.
"""

import functools
import heapq
import itertools
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from transport.envelope import Envelope, parse
from transport.errors import ProtocolError
from transport.outbox import Outbox
from transport.router_link import RouterLink, hello
from transport.wakeup import Wakeup
from transport.zmtp import encode

HANDSHAKE = 4.0  # seconds that a router may take for it
RECONNECT, RECONNECT_MAX = 0.01, 0.2  # seconds: before the first attempt, doubled up to the last
LINGER = 0.2  # seconds without progress after which `stop` gives up what is queued
LONGEST_WAIT = 3_600_000.0  # milliseconds; poll(2) counts in a C int


class Pump:
    """Sockets, descriptors and timers of one process.

    Attributes:
        on_welcome: called in the pump's thread each time a router has come to know this actor.
        on_disconnect: called in the pump's thread each time the connection to a router is lost.
        lost: how often that has been.
    """

    def __init__(self, path: Path, address: str, on_message: Callable[[Envelope], None]) -> None:
        """Prepare to speak to the router at `path` under `address` (`name/incarnation`); turns connect.

        `on_message` is called in the pump's thread for each message but WELCOME.
        """
        self.on_welcome: Callable[[], None] = _nothing
        self.on_disconnect: Callable[[], None] = _nothing
        self._on_message = on_message
        self._path = path
        self._identity = address.encode()
        self._outbox = Outbox()
        self._sending = threading.Lock()  # for whoever writes to the connection, or closes it
        self._calls: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self._link: RouterLink | None = None
        self.lost = 0
        self._retry_after = RECONNECT
        self._due: float | None = 0.0  # when the connection is next looked after: an attempt, or a late peer
        self._stop_by: float | None = None
        self._poll = select.poll()
        self._watched: dict[int, Callable[[], None]] = {}
        self._wakeup = Wakeup()
        self.watch(self._wakeup.descriptor, self._wakeup.drain)

    # From any thread.

    def send(self, message: Envelope) -> None:
        """Queue a message. Messages leave in order; they wait while the router is away.

        Raises:
            BacklogError: `MAX_WAITING` messages wait, or this one would make it `MAX_WAITING_BYTES`.
        """
        encoded = encode(message.to_frames())
        if not self._leaves_at_once(encoded):
            self._outbox.add(encoded)
            self._wakeup.ring()

    def _leaves_at_once(self, encoded: bytes) -> bool:
        """Give it to the kernel from this thread, where nothing waits before it: no thread has to wake up."""
        if not self._sending.acquire(blocking=False):
            return False
        try:
            link = self._link
            sent = 0 if link is None or self._outbox else link.take(encoded)
            if 0 < sent < len(encoded):
                self._outbox.begin(encoded, sent)
                self._wakeup.ring()
            return sent > 0
        finally:
            self._sending.release()

    @property
    def crowded(self) -> bool:
        """Whether so much waits for the router that who has more to say, and can wait, had better."""
        return self._outbox.crowded

    def announce(self) -> None:
        """Say HELLO once more, to a router that was told that nobody is to be reached here."""
        self.send(hello())

    def call(self, function: Callable[[], None]) -> None:
        """Run `function` in the pump's thread, soon."""
        self._calls.append(function)
        self._wakeup.ring()

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Run `function` in the pump's thread after `seconds`."""
        at = time.monotonic() + seconds
        self.call(lambda: heapq.heappush(self._timers, (at, next(self._serial), function)))

    def wake(self) -> None:
        """End the wait of a pump that waits. Also in a signal's handler."""
        self._wakeup.ring()

    def stop(self) -> None:
        """End it once what is queued has been sent, or nothing has moved for `LINGER`."""
        self.call(self._stop)

    # In the pump's thread only (or before its first turn).

    def watch(self, descriptor: int, on_ready: Callable[[], None], *, writing: bool = False) -> None:
        """Call `on_ready` while `descriptor` is readable (or writable), at its end, or broken."""
        self._watched[descriptor] = on_ready
        self._poll.register(descriptor, select.POLLOUT if writing else select.POLLIN)

    def unwatch(self, descriptor: int) -> None:
        """Forget `descriptor`; do so before closing it."""
        if self._watched.pop(descriptor, None):
            self._poll.unregister(descriptor)

    def run(self) -> None:
        """Turn it until the end. Raises what a callback raised."""
        try:
            while self.turn():
                pass
        finally:
            self.close()

    def turn(self, idle: Callable[[], bool] = lambda: True) -> bool:
        """See once to whatever is due; first wait for it, if whoever turns is `idle`.

        `idle` is asked when others know already that they have to `wake` us. Returns False after `stop`.
        Raises what a callback raised.
        """
        self._look(idle)
        self._run_timers()
        self._run_calls()
        self._tend()
        self._flush()
        return not self._stopped()

    def close(self) -> None:
        """Let go of the router, after the last turn."""
        self._drop()

    # A turn

    def _stopped(self) -> bool:
        if self._stop_by is None:
            return False
        return not self._outbox or time.monotonic() >= self._stop_by

    def _stop(self) -> None:
        self._stop_by = time.monotonic() + LINGER

    def _look(self, idle: Callable[[], bool]) -> None:
        """Wait, then call whom it concerns: all who are still watching when their turn comes."""
        self._wakeup.awaited = True  # whatever is queued before this is seen here, what comes after it rings
        has_time = not self._calls and not self._can_write() and idle()
        events = self._poll.poll(self._wait() if has_time else 0)
        self._wakeup.awaited = False
        ready = [(descriptor, self._watched[descriptor]) for descriptor, _ in events]
        for descriptor, callback in ready:
            if self._watched.get(descriptor) is callback:
                callback()

    def _wait(self) -> float | None:
        """Milliseconds until something is due, None for never."""
        due = [at for at in (self._due, self._stop_by) if at is not None]
        due += [self._timers[0][0]] if self._timers else []
        return min(LONGEST_WAIT, max(0.0, (min(due) - time.monotonic()) * 1000)) if due else None

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()

    def _run_calls(self) -> None:
        for _ in range(len(self._calls)):  # what these add has its turn in the next round
            self._calls.popleft()()

    # The connection

    def _tend(self) -> None:
        """Connect when it is time; give up a peer that is late with its handshake."""
        if self._due is None or time.monotonic() < self._due:
            return
        if self._link is not None:
            self._lose()
            return
        try:
            self._link = link = RouterLink(self._path, self._identity)
        except OSError:
            self._retry()
        else:
            self._due = time.monotonic() + HANDSHAKE
            self.watch(link.fileno(), functools.partial(self._receive, link))

    def _retry(self) -> None:
        self._due = time.monotonic() + self._retry_after
        self._retry_after = min(2 * self._retry_after, RECONNECT_MAX)

    def _lose(self) -> None:
        ready = self._drop()
        self._retry()
        if ready:
            self.lost += 1
            self.on_disconnect()

    def _drop(self) -> bool:
        """Close the connection, if any; returns whether its handshake had been over."""
        with self._sending:
            link, self._link = self._link, None
            if link is None:
                return False
            self.unwatch(link.fileno())
            link.close()
            self._outbox.rewind()
        return link.ready

    def _receive(self, link: RouterLink) -> None:
        link.read()
        while (frames := link.message()) is not None:
            self._take(frames)
        if link.broken:
            self._lose()
        elif link.ready:
            self._due = None

    def _take(self, frames: list[bytes]) -> None:
        self._retry_after = RECONNECT  # a router that speaks is a good one
        try:
            message = parse(frames)
        except ProtocolError:
            return  # the router passes on what it could parse: not for us to answer
        if message.type == "WELCOME":
            self.on_welcome()
        else:
            self._on_message(message)

    def _can_write(self) -> bool:
        return bool(self._outbox and self._link and self._link.ready and not self._link.blocked)

    def _flush(self) -> None:
        link = self._link
        if link is None:
            return
        with self._sending:
            moved = link.write(self._outbox)
        if moved and self._stop_by is not None:
            self._stop()  # it moves: have patience again
        self._await(link)

    def _await(self, link: RouterLink) -> None:
        """While too much waits to be said nothing new is heard: what is answered at once would make it more.

        So who floods finds the router's queue for us full, and is refused there.
        """
        deaf = link.ready and self._outbox.crowded
        awaited = (0 if deaf else select.POLLIN) | (select.POLLOUT if link.blocked else 0)
        if awaited != link.awaited:
            link.awaited = awaited
            self._poll.modify(link.fileno(), awaited)


def _nothing() -> None:
    """What happens while nobody wants to know."""
