"""A ZMTP 3.0 DEALER over a Unix socket, in plain Python: what the command line speaks.

Importing pyzmq costs about 40 ms, more than everything else that `actr` does. A client that opens one
connection to one local router needs only the greeting, the READY command and frames (ZMTP 3.0, RFC 23,
https://rfc.zeromq.org/spec/23/), NULL mechanism. TCP with CURVE goes through pyzmq.
"""

import socket

from transport.errors import ProtocolError

_MORE, _LONG, _COMMAND = 1, 2, 4
_GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
MAX_FRAME = 64 * 1024 * 1024
MAX_PARTS = 32


class Dealer:
    """One connection. Not thread-safe; blocking, with a time limit on each receive."""

    def __init__(self, path: str, timeout: float = 5.0) -> None:
        """Connect and shake hands. Raises OSError, ProtocolError."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._buffer = bytearray()
        self._partial: list[bytes] = []
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(path)
            self._shake_hands()
        except BaseException:
            self._socket.close()
            raise

    def _shake_hands(self) -> None:
        properties = b"\x0bSocket-Type" + (6).to_bytes(4, "big") + b"DEALER"
        properties += b"\x08Identity" + bytes(4)
        ready = b"\x05READY" + properties
        self._socket.sendall(_GREETING + bytes([_COMMAND, len(ready)]) + ready)
        greeting = self._take(64)
        if greeting[0] != 0xFF or greeting[10] < 3 or greeting[12:16] != b"NULL":
            raise ProtocolError("the other end does not speak ZMTP 3 with the NULL mechanism")
        flags, frame = self._frame()
        if not flags & _COMMAND or not frame.startswith(b"\x05READY"):
            raise ProtocolError("the other end refused the connection")

    def fileno(self) -> int:
        """The descriptor, for select. `pending` says whether bytes wait in the buffer already."""
        return self._socket.fileno()

    @property
    def pending(self) -> bool:
        """Whether bytes were read that no `receive` has returned yet."""
        return bool(self._buffer)

    def send(self, frames: list[bytes]) -> None:
        """Send one message. Raises OSError when the connection is gone."""
        out = bytearray()
        for index, frame in enumerate(frames):
            flags = _MORE if index + 1 < len(frames) else 0
            size = len(frame)
            out += bytes([flags, size]) if size < 256 else bytes([flags | _LONG]) + size.to_bytes(8, "big")
            out += frame
        self._socket.sendall(out)

    def receive(self, timeout: float | None = None) -> list[bytes]:
        """One whole message. Raises TimeoutError, ConnectionError (the router went away), ProtocolError."""
        self._socket.settimeout(timeout)
        while True:
            flags, frame = self._frame()
            if flags & _COMMAND:
                continue  # the router's heartbeats, if it sends any, concern its own end only
            self._partial.append(frame)
            if len(self._partial) > MAX_PARTS:
                raise ProtocolError(f"a message of more than {MAX_PARTS} frames")
            if not flags & _MORE:
                frames, self._partial = self._partial, []
                return frames

    def _frame(self) -> tuple[int, bytes]:
        """One frame; nothing leaves the buffer before all of it is there, so a time-out loses nothing."""
        self._fill(2)
        flags = self._buffer[0]
        start = 2
        size = self._buffer[1]
        if flags & _LONG:
            self._fill(9)
            start, size = 9, int.from_bytes(self._buffer[1:9], "big")
        if size > MAX_FRAME:
            raise ProtocolError(f"a frame of {size} bytes is larger than {MAX_FRAME}")
        self._fill(start + size)
        frame = bytes(self._buffer[start : start + size])
        del self._buffer[: start + size]
        return flags, frame

    def _take(self, size: int) -> bytes:
        self._fill(size)
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _fill(self, size: int) -> None:
        while len(self._buffer) < size:
            chunk = self._socket.recv(max(65536, size - len(self._buffer)))
            if not chunk:
                raise ConnectionResetError("the daemon closed the connection")
            self._buffer += chunk

    def close(self) -> None:
        """Close the connection; doing it twice is fine."""
        self._socket.close()
