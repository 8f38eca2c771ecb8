"""Streams that a client opens beside a transfer, and then names in it: progress, logins, archives.

A stream is a call of the client's, which holds one of the server's threads. So there is a limit to their
number, to the time in which a transfer has to lay claim to one, and to that for which a transfer waits for a
client that does not answer. It ends with its transfer, with its client, and with this process.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.message import DecodeError

from transport.errors import RemoteError
from transport.grpc.interface import message
from transport.grpc.server import Call, Service, next_of

_PACKAGE: Final = "containerd.services.streaming.v1"
_TYPES: Final = "containerd.types.transfer."
MOST: Final = 48
"""Streams at once; a transfer of `ctr` has two or three."""
MOST_NAME: Final = 256  # characters
MOST_WAITING: Final = 8  # messages to a client which does not read
PATIENCE: Final = 120.0  # seconds, for a client that owes an answer or does not read
UNCLAIMED: Final = 30.0  # seconds, for the transfer that a stream is meant for
TURN: Final = 1.0  # seconds after which it is looked whether somebody has waited for too long


def packed(found: Any) -> Any:
    """A message as its clients pack it: by its bare name."""
    return message("google.protobuf.Any")(
        type_url=found.DESCRIPTOR.full_name, value=found.SerializeToString()
    )


def unpacked(given: Any) -> Any:
    """What a client has packed: one of the messages of a transfer. Raises RemoteError."""
    name = given.type_url.rpartition("/")[2]
    known = name if name.startswith((_TYPES, f"{_PACKAGE}.")) else ""
    try:
        return message(known).FromString(given.value)
    except KeyError as error:
        raise RemoteError("not_implemented", f"transfer: {name[:128]!r} is not known") from error
    except DecodeError as error:
        raise RemoteError("invalid_argument", f"transfer: what is said to be {name} is not") from error


class Stream:
    """One stream: its call's thread sends, that of a transfer receives."""

    def __init__(self, requests: Iterator[Any]) -> None:
        self._requests = requests
        self._outgoing: deque[Any] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._until = time.monotonic() + UNCLAIMED  # when there is no use in waiting any more

    # For a transfer

    def claim(self) -> None:
        """From now on a transfer decides when it ends."""
        self._until = float("inf")

    def send(self, found: Any) -> None:
        """Send a message, once there is room. Raises RemoteError: the client has gone or does not read."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._outgoing) < MOST_WAITING, PATIENCE)
            if self._closed or len(self._outgoing) >= MOST_WAITING:
                raise RemoteError("unavailable", "the client has gone, or does not read its stream")
            self._put(found)

    def offer(self, found: Any) -> None:
        """Send a message that may as well be lost: if there is room."""
        with self._changed:
            if not self._closed and len(self._outgoing) < MOST_WAITING:
                self._put(found)

    def _put(self, found: Any) -> None:
        self._outgoing.append(packed(found))
        self._changed.notify_all()

    def receive(self) -> Any:
        """The client's next message, None when there is none any more. Raises RemoteError."""
        found = next_of(self._requests)
        return None if found is None else unpacked(found)

    @contextlib.contextmanager
    def awaited(self, limit: float = PATIENCE) -> Iterator[None]:
        """The client is to do something; the stream is closed if it takes longer than `limit` seconds."""
        self._until = time.monotonic() + limit
        try:
            yield
        finally:
            self._until = float("inf")

    def close(self) -> None:
        """End it, after what was sent. Doing it twice is fine."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # For its call

    def outgoing(self) -> Iterator[Any]:
        """What is sent, until it is closed."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._outgoing, TURN)
                found = self._outgoing.popleft() if self._outgoing else None
                self._changed.notify_all()
                if found is None and (self._closed or time.monotonic() > self._until):
                    self._closed = True
                    return
            if found is not None:
                yield found


class Streams:
    """Those that are open, by the namespace and the id that their clients gave them."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Stream] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def opened(self, namespace: str, name: str, requests: Iterator[Any]) -> Iterator[Stream]:
        """A new one, for as long as its call lasts. Raises RemoteError."""
        if not 0 < len(name) <= MOST_NAME:
            raise RemoteError("invalid_argument", f"stream: its id has 1 to {MOST_NAME} characters")
        stream = Stream(requests)
        with self._lock:
            if (namespace, name) in self._known:
                raise RemoteError("already_exists", f"stream {name!r} is open already")
            if len(self._known) >= MOST:
                raise RemoteError("overloaded", f"{MOST} streams are open already: try again later")
            self._known[namespace, name] = stream
        try:
            yield stream
        finally:
            stream.close()
            with self._lock:
                del self._known[namespace, name]

    @contextlib.contextmanager
    def claimed(self, namespace: str, name: str) -> Iterator[Stream]:
        """One for a transfer, at whose end it is closed. Raises RemoteError not_found."""
        with self._lock:
            stream = self._known.get((namespace, name))
        if stream is None:
            raise RemoteError("not_found", f"stream {name[:MOST_NAME]!r} is not open")
        stream.claim()
        try:
            yield stream
        finally:
            stream.close()


class Streaming(Service):
    """containerd.services.streaming.v1.Streaming."""

    name = f"{_PACKAGE}.Streaming"

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def stream(self, requests: Iterator[Any], call: Call) -> Iterator[Any]:
        """The first message says its id, and is acknowledged with an empty one; the rest is a transfer's."""
        first = next_of(requests)
        init = None if first is None else unpacked(first)
        if init is None or init.DESCRIPTOR.full_name != f"{_PACKAGE}.StreamInit":
            raise RemoteError("invalid_argument", "stream: its first message must be a StreamInit")
        with self._streams.opened(call.namespace, init.id, requests) as stream:
            call.when_over(stream.close)
            yield packed(message("google.protobuf.Empty")())
            yield from stream.outgoing()
