"""ZMTP 3.0 over a Unix socket, in plain Python: what the router, actors and the command line speak.

A router is met at one local socket, for which the greeting, the READY command and frames are enough (RFC
23, https://rfc.zeromq.org/spec/23/, NULL mechanism; PING and PONG from RFC 37). The library would cost an
actor's process two threads and more than a megabyte of its own, and the command line 40 ms to import it.

`Framing` reads bytes and does no input or output; the pump, `Dealer` and the router (transport/peer.py)
bring the socket.
"""

import _socket  # what `socket` wraps: that module and what it imports take a command 4 ms

from transport.errors import ProtocolError

_MORE, _LONG, _COMMAND = 1, 2, 4
_FLAGS = (0, 1, 2, 3, 4, 6)  # no reserved bit, no command of several frames
_GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
_PING, _PONG = b"\x04PING", b"\x04PONG"
_READY, _ERROR = b"\x05READY", b"\x05ERROR"
CHUNK = 65536  # bytes asked for at a time: below what malloc takes fresh pages for
MAX_FRAME = 64 * 1024 * 1024
MAX_PARTS = 32
MAX_COMMAND = CHUNK
LARGE = 8192  # bytes of a frame that is not worth a copy


def opening(identity: bytes = b"", kind: bytes = b"DEALER") -> bytes:
    """What a peer sends first: its greeting and READY. An empty `identity` lets the router choose one."""
    ready = _READY + _property(b"Socket-Type", kind) + _property(b"Identity", identity)
    return _GREETING + _frame(_COMMAND, ready)


def encode(frames: list[bytes]) -> bytes:
    """One message as it travels."""
    last = len(frames) - 1
    return b"".join([_frame(_MORE if index < last else 0, frame) for index, frame in enumerate(frames)])


def gather(frames: list[bytes]) -> list[bytes]:
    """The same in pieces for sendmsg(2): a large frame is a piece by itself, as it is."""
    if sum(map(len, frames)) < LARGE:
        return [encode(frames)]
    last = len(frames) - 1
    pieces = [b""]
    for index, frame in enumerate(frames):
        pieces[-1] += _head(_MORE if index < last else 0, len(frame))
        if len(frame) < LARGE:
            pieces[-1] += frame
        else:
            pieces += [frame, b""]
    return pieces if pieces[-1] else pieces[:-1]


def received(source: _socket.socket) -> bytes | None:
    """What has come over a socket that does not block: None for nothing yet, no bytes at its end."""
    try:
        return source.recv(CHUNK)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _frame(flags: int, body: bytes) -> bytes:
    return _head(flags, len(body)) + body


def _head(flags: int, size: int) -> bytes:
    return bytes((flags, size)) if size < 256 else bytes((flags | _LONG,)) + size.to_bytes(8, "big")


def _property(name: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name + len(value).to_bytes(4, "big") + value


class Framing:
    """The incoming half of a connection: bytes are fed, messages taken.

    Attributes:
        ready: whether the other end has finished its handshake.
        metadata: what it said of itself in its READY.
        pong: the answer that a PING still wants, as it travels, or empty. Whoever sends it empties it;
            only the newest is kept, so that a flood of PINGs takes no room.
    """

    def __init__(self) -> None:
        self.ready = False
        self.pong = self.metadata = b""
        self._greeted = False
        self._buffer = bytearray()
        self._at = 0  # how far it has been read
        self._parts: list[bytes] = []
        self._size = 0  # of those

    @property
    def pending(self) -> bool:
        """Whether bytes wait that no message has been made of."""
        return len(self._buffer) > self._at

    def feed(self, chunk: bytes) -> None:
        """Take in bytes as they were read; `message` looks at them."""
        if self._at:
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += chunk

    def shake_hands(self) -> bool:
        """Read the other end's greeting and READY; whether both are there. Raises ProtocolError."""
        if not self._greeted and not self._read_greeting():
            return False
        taken = None if self.ready else self._take_frame()
        if taken is not None:
            flags, body = taken
            if not flags & _COMMAND or not body.startswith(_READY):
                raise ProtocolError("the other end refused the connection")
            self.metadata = body[len(_READY) :]
            self.ready = True
        return self.ready

    def message(self) -> list[bytes] | None:
        """The next whole message, None until more is fed.

        Raises:
            ProtocolError: what came is not ZMTP 3.0 or too large; the connection is of no more use.
        """
        if not self.ready and not self.shake_hands():
            return None
        while (taken := self._take_frame()) is not None:
            flags, body = taken
            if flags & _COMMAND:
                self._obey(body)
                continue
            self._parts.append(body)
            self._size += len(body)
            if len(self._parts) > MAX_PARTS or self._size > MAX_FRAME:
                self._exceed()
            if not flags & _MORE:
                whole, self._parts, self._size = self._parts, [], 0
                return whole
        return None

    def _exceed(self) -> None:
        """With its newest frame a message is larger than any may be."""
        raise ProtocolError(f"a message of more than {MAX_PARTS} frames or {MAX_FRAME} bytes")

    def _read_greeting(self) -> bool:
        greeting = self._buffer[:64]
        if greeting and greeting[0] != 0xFF:
            raise ProtocolError("the other end does not speak ZMTP")
        if len(greeting) < 64:
            return False
        if greeting[9] != 0x7F or greeting[10] < 3 or greeting[12:32] != _GREETING[12:32]:
            raise ProtocolError("the other end does not speak ZMTP 3 with the NULL mechanism")
        self._at = 64
        self._greeted = True
        return True

    def _take_frame(self) -> tuple[int, bytes] | None:
        """Flags and body; nothing counts as read before all of it is there."""
        buffer, at = self._buffer, self._at
        left = len(buffer) - at
        if left < 2:
            return None
        flags, size, start = buffer[at], buffer[at + 1], at + 2
        if flags not in _FLAGS:
            raise ProtocolError("a frame with flags that mean nothing")
        if flags & _LONG:
            if left < 9:
                return None
            size, start = int.from_bytes(buffer[at + 1 : at + 9], "big"), at + 9
        if size > (MAX_COMMAND if flags & _COMMAND else MAX_FRAME):
            raise ProtocolError(f"a frame of {size} bytes is too large")
        end = start + size
        if len(buffer) < end:
            return None
        self._at = end
        if size < LARGE:
            return flags, bytes(buffer[start:end])
        with memoryview(buffer) as view:
            return flags, bytes(view[start:end])

    def _obey(self, command: bytes) -> None:
        """ERROR ends the connection, PING is answered; other commands mean nothing to a DEALER."""
        if command.startswith(_ERROR):
            raise ProtocolError("the other end ended the connection with an error")
        if command.startswith(_PING):
            context = command[len(_PING) + 2 :]  # what follows two bytes of time to live
            if len(context) > 16:
                raise ProtocolError("a PING with a context of more than 16 bytes")
            self.pong = _frame(_COMMAND, _PONG + context)


class Dealer:
    """One connection. Not thread-safe; blocking, with a time limit on each receive."""

    def __init__(self, path: str, timeout: float = 5.0) -> None:
        """Connect and shake hands. Raises OSError, ProtocolError."""
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._framing = Framing()
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(path)
            self._shake_hands()
        except BaseException:
            self._socket.close()
            raise

    def _shake_hands(self) -> None:
        self._socket.sendall(opening())
        while not self._framing.shake_hands():
            self._read()

    def fileno(self) -> int:
        """The descriptor, for select. `pending` says whether bytes wait in the buffer already."""
        return self._socket.fileno()

    @property
    def pending(self) -> bool:
        """Whether bytes were read that no `receive` has returned yet."""
        return self._framing.pending

    def send(self, frames: list[bytes]) -> None:
        """Send one message. Raises OSError when the connection is gone."""
        self._socket.sendall(encode(frames))

    def receive(self, timeout: float | None = None) -> list[bytes]:
        """One whole message. Raises TimeoutError, ConnectionError (the router went away), ProtocolError."""
        self._socket.settimeout(timeout)
        while True:
            message = self._framing.message()
            self._answer_ping()
            if message is not None:
                return message
            self._read()

    def _answer_ping(self) -> None:
        if self._framing.pong:
            self._socket.sendall(self._framing.pong)
            self._framing.pong = b""

    def _read(self) -> None:
        chunk = self._socket.recv(CHUNK)
        if not chunk:
            raise ConnectionResetError("the daemon closed the connection")
        self._framing.feed(chunk)

    def hang_up(self) -> None:
        """End it from another thread: who waits for a message gets ConnectionError. It is not closed."""
        try:
            self._socket.shutdown(_socket.SHUT_RDWR)
        except OSError:  # it has ended already
            return

    def close(self) -> None:
        """Close the connection; doing it twice is fine."""
        self._socket.close()
