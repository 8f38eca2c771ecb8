"""The router's loop, between its doors and the switch: a door for this host, and if wanted one on TCP.

What comes in is read once and given to the switch; what that makes of it is queued with those whom it
concerns, and leaves at the end of the turn, all that is for one peer in one call. The address of an actor is
its identity `name/incarnation`, and clients take whatever the door gives them.
"""

import select
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from transport.doors import OUTER, FullError, UnreachableError
from transport.envelope import Envelope, failure, parse, unreadable
from transport.errors import ProtocolError
from transport.held import Held
from transport.inner import InnerDoor
from transport.switch import Send, Switch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from transport.outer import OuterDoor  # which loads ZeroMQ

OUTER_BATCH = 8  # messages from other hosts in a turn: what a flood of theirs may cost those of this host
EVENTS = 256  # of the poll in a turn
LONGEST_WAIT = 3600.0  # seconds; a poll counts milliseconds in a C int


class RouterSocket:
    """Owns the doors and runs the loop. One thread."""

    def __init__(self, path: Path, welcome: dict[str, object], outer: "OuterDoor | None" = None) -> None:
        """Listen at `path` (at most 107 bytes, in a directory that nobody else enters)."""
        self.switch = Switch(time.monotonic(), welcome)
        self._poll = select.epoll()
        self._inner = InnerDoor(path, self._poll, self.switch.counters)
        self._outer = outer
        if outer is not None:
            outer.watch(self._poll)
        self._held = Held()

    def run(self, control: int, on_control: Callable[[], bool]) -> None:
        """Serve until `on_control`, called when descriptor `control` is readable, returns False."""
        self._poll.register(control, select.EPOLLIN)
        while True:
            ready = self._poll.poll(self._wait(), EVENTS)
            if any(descriptor == control for descriptor, _ in ready) and not on_control():
                return
            self._inner.look(ready, time.monotonic())
            for peer, frames in self._inner.receive():
                self._deliver(self._understand(peer, frames))
            if self._outer is not None:
                self._outer.admit()
                self._receive_outer(self._outer)
            self._inner.flush()

    def _wait(self) -> float | None:
        """Do what is due; seconds until something will be, None for never."""
        now = time.monotonic()
        expired, again = self.switch.expire(now)
        probes, probe = self.switch.probe(now)
        self._deliver(expired + probes)
        bind = self._outer.tend(now) if self._outer else None
        held = self._held.retry(self._send, now)
        self._inner.flush()
        due = [at for at in (again, probe, bind, held, self._inner.tend(now)) if at is not None]
        if self._outer is not None and self._outer.pending():
            return 0.0
        return min(LONGEST_WAIT, max(0.0, min(due) - time.monotonic())) if due else None

    def _receive_outer(self, outer: "OuterDoor") -> None:
        """Fewer at a time: those of this host come first."""
        for _ in range(OUTER_BATCH):
            try:
                received = outer.receive()
            except ProtocolError:
                self.switch.counters["malformed"] += 1
                continue
            if received is None:
                return
            peer, message, refused = received
            if refused is None:
                self._deliver(self.switch.receive(peer, message, time.monotonic()))
            else:
                self.switch.counters["malformed" if refused.code == "invalid_argument" else "refused"] += 1
                self._deliver([(peer, failure(message.forwarded(peer), refused))])

    def _understand(self, peer: str, frames: list[bytes]) -> list[Send]:
        try:
            return self.switch.receive(peer, parse(frames, peer), time.monotonic())
        except (ProtocolError, KeyError, ValueError, TypeError) as error:
            self.switch.counters["malformed"] += 1
            return [(peer, failure(Envelope("REQ", fr=peer), unreadable(error)))]

    def _deliver(self, sends: list[Send]) -> None:
        waiting = deque(sends)
        while waiting:
            address, message = waiting.popleft()
            try:
                self._send(address, message)
            except FullError:
                if not self._held.keep(address, message):
                    waiting.extend(self.switch.full(address, message))
            except UnreachableError:
                waiting.extend(self.switch.unreachable(address, message))

    def _send(self, address: str, message: Envelope) -> None:
        """Raises FullError, UnreachableError."""
        if self._outer is not None and address.startswith(OUTER):
            self._outer.send(address, message)
        else:
            self._inner.send(address, message)

    def close(self) -> None:
        """Close at once; what was not sent is dropped."""
        self._inner.close()
        if self._outer is not None:
            self._outer.close()
        self._poll.close()
