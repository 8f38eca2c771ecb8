"""The pump: the one thread of an actor's process that owns all of its sockets.

ZeroMQ sockets are not thread-safe, so everything that is sent goes through a deque and an eventfd to the
pump, and everything that arrives is handed on by a callback that must not block. The pump also watches
plain descriptors (control channel, pidfds, FIFOs) and keeps timers, so that a process needs no further
thread for waiting.

It announces its actor with HELLO whenever a connection comes up: to the first router and to each that
follows it.
"""

import heapq
import itertools
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import zmq
from zmq.utils.monitor import recv_monitor_message

from transport.envelope import Envelope, parse
from transport.errors import ProtocolError

QUEUE = 10_000
MAX_MESSAGE = 64 * 1024 * 1024
BATCH = 256


class Pump:
    """Sockets, descriptors and timers of one process; `run` is its thread, usually the main one.

    Attributes:
        on_welcome: called in the pump's thread each time a router has come to know this actor.
        on_disconnect: called in the pump's thread each time the connection to a router is lost.
    """

    def __init__(self, path: Path, address: str, on_message: Callable[[Envelope], None]) -> None:
        """Connect to the router at `path` under `address` (`name/incarnation`).

        `on_message` is called in the pump's thread for each message but WELCOME.
        """
        self._on_message = on_message
        self._outbox: deque[list[bytes]] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._watched: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self._running = True
        self.on_welcome: Callable[[], None] = _nothing
        self.on_disconnect: Callable[[], None] = _nothing
        self._context = zmq.Context(io_threads=1)
        self._socket = self._connect(path, address)
        self._poller = zmq.Poller()
        for item in (self._socket, self._monitor, self._wakeup):
            self._poller.register(item, zmq.POLLIN)

    def _connect(self, path: Path, address: str) -> "zmq.Socket[bytes]":
        dealer = self._context.socket(zmq.DEALER)
        for option, value in (
            (zmq.SNDHWM, QUEUE),
            (zmq.RCVHWM, QUEUE),
            (zmq.LINGER, 200),
            (zmq.MAXMSGSIZE, MAX_MESSAGE),
            (zmq.RECONNECT_IVL, 10),
            (zmq.RECONNECT_IVL_MAX, 200),
            (zmq.HANDSHAKE_IVL, 4000),
        ):
            dealer.setsockopt(option, value)
        dealer.setsockopt(zmq.ROUTING_ID, address.encode())
        events = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        self._monitor: zmq.Socket[bytes] = dealer.get_monitor_socket(events)
        dealer.connect(f"ipc://{path}")
        return dealer

    # From any thread.

    def send(self, message: Envelope) -> None:
        """Queue a message. Messages leave in order; they wait while the router is away."""
        self._outbox.append(message.to_frames())
        self._wake()

    def call(self, function: Callable[[], None]) -> None:
        """Run `function` in the pump's thread, soon."""
        self._calls.append(function)
        self._wake()

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Run `function` in the pump's thread after `seconds`."""
        at = time.monotonic() + seconds
        self.call(lambda: heapq.heappush(self._timers, (at, next(self._serial), function)))

    def stop(self) -> None:
        """Let `run` return once what is queued has been sent."""
        self.call(self._stop)

    # In the pump's thread only (or before it runs).

    def watch(self, descriptor: int, on_readable: Callable[[], None]) -> None:
        """Call `on_readable` while `descriptor` is readable."""
        self._watched[descriptor] = on_readable
        self._poller.register(descriptor, zmq.POLLIN)

    def unwatch(self, descriptor: int) -> None:
        """Forget `descriptor`; do so before closing it."""
        if self._watched.pop(descriptor, None):
            self._poller.unregister(descriptor)

    def run(self) -> None:
        """The loop; returns after `stop`."""
        while self._running or self._outbox:
            ready = dict(self._poller.poll(self._until_timer()))
            if self._monitor in ready:
                self._connection_changed()
            if self._wakeup in ready:
                os.eventfd_read(self._wakeup)
            if self._socket in ready:
                self._receive()
            for descriptor in ready.keys() & self._watched.keys():
                self._watched[descriptor]()
            self._run_timers()
            self._run_calls()
            self._flush()
        self._socket.disable_monitor()
        self._context.destroy(linger=200)

    def _wake(self) -> None:
        os.eventfd_write(self._wakeup, 1)

    def _stop(self) -> None:
        self._running = False

    def _until_timer(self) -> int | None:
        if not self._timers:
            return None
        return max(0, int((self._timers[0][0] - time.monotonic()) * 1000) + 1)

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()

    def _run_calls(self) -> None:
        while self._calls:
            self._calls.popleft()()

    def _connection_changed(self) -> None:
        event = recv_monitor_message(self._monitor)["event"]
        if event == zmq.EVENT_DISCONNECTED:
            self.on_disconnect()
        else:
            self._socket.send_multipart(Envelope("HELLO", id=os.urandom(16)).to_frames(), zmq.NOBLOCK)

    def _receive(self) -> None:
        for _ in range(BATCH):
            try:
                message = parse(self._socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            except ProtocolError:
                continue  # the router passes on what it could parse: not for us to answer
            if message.type == "WELCOME":
                self.on_welcome()
            else:
                self._on_message(message)

    def _flush(self) -> None:
        while self._outbox:
            try:
                self._socket.send_multipart(self._outbox[0], zmq.NOBLOCK)
            except zmq.Again:  # the queue of a router that does not read; the next wake-up tries again
                self.call_later(0.02, _nothing)
                return
            self._outbox.popleft()


def _nothing() -> None:
    """Wakes the loop up, no more."""
