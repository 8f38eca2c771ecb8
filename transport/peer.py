"""One connection to the router's Unix socket, without the socket: bytes go in, messages come out, and back.

The server's half of ZMTP 3.x with the NULL mechanism (RFC 23, https://rfc.zeromq.org/spec/23/): whoever sends
to a ROUTER may come in, which is a DEALER, a REQ or a ROUTER. The codec is that of the other end
(transport/zmtp.py). What a peer can make us keep is bounded in both directions.
"""

from collections import deque
from itertools import islice
from typing import Final

from transport.doors import FullError
from transport.envelope import MAX_MESSAGE
from transport.errors import ProtocolError
from transport.zmtp import MAX_PARTS, Framing, gather, opening

QUEUE: Final = 10_000  # messages that wait for one peer
QUEUE_BYTES: Final = 4 * MAX_MESSAGE  # and what they may be together; a first one has room whatever its size
BATCH: Final = 64  # messages given to the kernel at once
PIECES: Final = 1024  # IOV_MAX
MAX_IDENTITY: Final = 255
GENERATED: Final = b"\0"  # how an identity begins that is the router's choice
GREETING: Final = opening(kind=b"ROUTER")
"""What each peer is sent first."""
_WELCOME: Final = (b"DEALER", b"REQ", b"ROUTER")


class Peer:
    """The state of one connection, from its first byte.

    Attributes:
        ready: whether its handshake is over.
        identity: what it calls itself; empty for one that leaves that to the router.
    """

    __slots__ = ("_begun", "_bytes", "_framing", "_queue", "identity", "ready")

    def __init__(self) -> None:
        self.ready = False
        self.identity = b""
        self._framing = _Incoming()
        self._queue: deque[tuple[int, list[bytes]]] = deque()  # the size of each message, and its pieces
        self._bytes = 0  # of all that waits, whether it has begun to leave or not
        self._begun = 0  # bytes of the first message that have left

    # What comes in

    def feed(self, chunk: bytes) -> None:
        """Take in bytes as they were read; `message` looks at them."""
        self._framing.feed(chunk)

    def message(self) -> list[bytes] | None:
        """The frames of the next whole message, None until more is fed.

        One that is larger than any may be comes cut, but still too large: it is not refused here, so that
        its sender hears of it and the connection stays.

        Raises:
            ProtocolError: what came is not ZMTP 3, or nobody who may come in; the connection is to be closed.
        """
        if not self.ready:
            if not self._framing.shake_hands():
                return None
            self._introduce()
        return self._framing.message()

    def _introduce(self) -> None:
        said = _properties(self._framing.metadata)
        if said.get(b"socket-type") not in _WELCOME:
            raise ProtocolError("a socket of a type that does not speak to a ROUTER")
        self.identity = said.get(b"identity", b"")
        if len(self.identity) > MAX_IDENTITY or self.identity.startswith(GENERATED):
            raise ProtocolError("an identity that is too long, or that only the router gives")
        self.ready = True

    # What goes out

    @property
    def waiting(self) -> int:
        """How many messages have not left, or not whole; the answer to a PING is one."""
        return len(self._queue) + bool(self._framing.pong)

    def queue(self, frames: list[bytes]) -> None:
        """Let a message wait for its turn. Raises FullError."""
        pieces = gather(frames)
        size = sum(map(len, pieces))
        if len(self._queue) >= QUEUE or (self._queue and self._bytes + size > QUEUE_BYTES):
            raise FullError
        self._queue.append((size, pieces))
        self._bytes += size

    def batch(self) -> list[bytes | memoryview]:
        """What to give to the kernel next; a PING is answered before what waits."""
        if self._framing.pong:
            pong, self._framing.pong = self._framing.pong, b""
            self._queue.insert(1 if self._begun else 0, (len(pong), [pong]))
            self._bytes += len(pong)
        pieces: list[bytes | memoryview] = []
        for _, parts in islice(self._queue, BATCH):
            pieces += parts
        if self._begun:
            pieces = _from(pieces, self._begun)
        return pieces[:PIECES]

    def took(self, size: int) -> None:
        """The kernel has taken `size` bytes of the batch."""
        self._begun += size
        while self._queue and self._begun >= self._queue[0][0]:
            gone, _ = self._queue.popleft()
            self._begun -= gone
            self._bytes -= gone

    def drop(self) -> None:
        """Nothing more can leave."""
        self._queue.clear()
        self._framing.pong = b""
        self._bytes = self._begun = 0


class _Incoming(Framing):
    """Of a message that is too large, no more is kept than makes it so."""

    def _exceed(self) -> None:
        last = len(self._parts[-1])
        if len(self._parts) > MAX_PARTS + 1 or self._size - last > MAX_MESSAGE:
            self._parts.pop()
            self._size -= last


def _from(pieces: list[bytes | memoryview], start: int) -> list[bytes | memoryview]:
    """What is left of `pieces` after `start` bytes."""
    at = 0
    while start >= len(pieces[at]):
        start -= len(pieces[at])
        at += 1
    return [memoryview(pieces[at])[start:], *pieces[at + 1 :]]


def _properties(metadata: bytes) -> dict[bytes, bytes]:
    """Of a READY command; names do not mind their case. Raises ProtocolError."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(metadata):
        name_end = at + 1 + metadata[at]
        value_start = name_end + 4
        value_end = value_start + int.from_bytes(metadata[name_end:value_start], "big")
        if not metadata[at] or value_end > len(metadata) or value_start > len(metadata):
            raise ProtocolError("a READY command that ends before it says so")
        found[metadata[at + 1 : name_end].lower()] = metadata[value_start:value_end]
        at = value_end
    return found
