"""A client's connection and its calls, for threads: who works for a call takes messages and sends answers.

A connection has one lock. The loop (loop.py) puts in what comes; whoever answers gives the kernel what it
takes, and only what it does not take is left to the loop.
"""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from transport.grpc.http2 import Connection, Stream

AHEAD: Final = 1 << 18  # bytes of a call, or a connection, that may wait for the client to read
LOOK: Final = 1.0  # seconds after which who waits for the client looks whether the call's time is over
_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


class GoneError(Exception):
    """The client of a call is not there any more, or waits no more."""


class Peer:
    """One connection.

    Attributes:
        lock: of all that is here, and of `changed`, which is told when somebody who waits may go on.
        corked: whether what is sent waits for `flush`.
        calls: those that are not over, by the number of their stream.
    """

    def __init__(self, accepted: socket.socket, poll: select.epoll) -> None:
        self.socket, self.descriptor = accepted, accepted.fileno()
        self.http = Connection()
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.calls: dict[int, Exchange] = {}
        self.corked = self.closed = False
        self._poll, self._events = poll, select.EPOLLIN
        poll.register(self.descriptor, self._events)

    def flush(self) -> None:
        """Give the kernel what it takes; the loop goes on with the rest."""
        with self.lock:
            outgoing = self.http.outgoing
            try:
                while outgoing and not self.closed:
                    sent = self.socket.send(outgoing, socket.MSG_NOSIGNAL)
                    del outgoing[:sent]
            except BlockingIOError:
                pass
            except OSError:  # the client has gone: the loop hears of it, too
                outgoing.clear()
            self._watch()

    def _watch(self) -> None:
        """Who does not read what it is owed is not read either."""
        waiting = len(self.http.outgoing)
        events = select.EPOLLIN if waiting <= AHEAD else 0
        events |= select.EPOLLOUT if waiting else 0
        if events != self._events and not self.closed:
            self._events = events
            self._poll.modify(self.descriptor, events)
        if waiting <= AHEAD:
            self.changed.notify_all()

    def close(self) -> list[Callable[[], None]]:
        """It has ended, or is to; what is to be called for its calls."""
        with self.lock:
            self.closed = True
            self._poll.unregister(self.descriptor)  # somebody forked meanwhile may have a copy of it
            self.socket.close()
            for stream in self.http.streams.values():
                stream.over = stream.ended = True
            calls, self.calls = list(self.calls.values()), {}
            self.changed.notify_all()
            return [function for call in calls for function in call.ended()]


class Exchange:
    """One call, from its headers to its end.

    Attributes:
        headers: the client's.
        begun: whether somebody works for it.
    """

    def __init__(self, peer: Peer, stream: Stream) -> None:
        self._peer, self._stream = peer, stream
        self.headers = stream.headers
        self.begun = False
        self._deadline = _deadline(stream.headers.get("grpc-timeout", ""))
        self._when_over: list[Callable[[], None]] = []
        peer.calls[stream.number] = self

    @property
    def over(self) -> bool:
        """Whether the client waits no more."""
        left = self.left
        return self._stream.over or self._peer.closed or (left is not None and left <= 0)

    @property
    def left(self) -> float | None:
        """Seconds until the client waits no more; None for never."""
        return None if self._deadline is None else self._deadline - time.monotonic()

    @property
    def waiting(self) -> int:
        """How many messages have come and are not taken yet."""
        return len(self._stream.messages)

    def messages(self) -> Iterator[bytes]:
        """The client's messages, as they come. Raises GoneError."""
        while (found := self._next()) is not None:
            yield found

    def _next(self) -> bytes | None:
        stream = self._stream
        with self._peer.lock:
            while not (stream.messages or stream.ended or stream.refusal or self.over):
                self._peer.changed.wait(LOOK)
            if stream.messages:
                found = self._peer.http.taken(stream)
                self._peer.flush()
                return found
        if self.over:
            raise GoneError
        return None

    @property
    def refusal(self) -> tuple[int, str] | None:
        """Status and text with which it has to end."""
        return self._stream.refusal

    def send(self, message: bytes) -> None:
        """One answer, once the client has read most of those before it. Raises GoneError."""
        peer = self._peer
        with peer.lock:
            while not (peer.corked or self.over) and self._is_far_ahead():
                peer.changed.wait(LOOK)
            if self.over:
                raise GoneError
            peer.http.answer(self._stream, message)
            if not peer.corked:
                peer.flush()

    def _is_far_ahead(self) -> bool:
        return len(self._stream.waiting) > AHEAD or len(self._peer.http.outgoing) > AHEAD

    def end(self, status: int = 0, text: str = "") -> None:
        """The end of it; what was sent still leaves. Doing it twice is fine."""
        peer = self._peer
        with peer.lock:
            peer.http.end(self._stream, status, text)
            peer.calls.pop(self._stream.number, None)
            if not peer.corked:
                peer.flush()
        for function in self.ended():
            function()

    def refuse(self, status: int) -> None:
        """End what is no call of gRPC, with a status of HTTP. In the loop."""
        with self._peer.lock:
            self._peer.http.refuse(self._stream, status)
            self._peer.calls.pop(self._stream.number, None)

    def ended(self) -> list[Callable[[], None]]:
        """What is to be called as it is over, once."""
        with self._peer.lock:
            found, self._when_over = self._when_over, []
            return found

    def when_over(self, function: Callable[[], None]) -> None:
        """Call `function` when it has ended, however it has; at once if that was before."""
        with self._peer.lock:
            if not self.over:
                self._when_over.append(function)
                return
        function()


def _deadline(said: str) -> float | None:
    """From now, by what the client said: at most 8 digits, and a unit."""
    if not said:
        return None
    with contextlib.suppress(ValueError, KeyError, IndexError):
        return time.monotonic() + int(said[:-1][:8]) * _UNITS[said[-1]]
    return None
