"""One connection of an actor's process to its router."""

import contextlib
import os
import select
import socket
from pathlib import Path

from transport.envelope import Envelope
from transport.errors import ProtocolError
from transport.outbox import Outbox
from transport.zmtp import Framing, encode, opening, received


class RouterLink:
    """One connection to a router, from its greeting to its end. Raises OSError when nobody listens.

    Attributes:
        ready: whether the handshake is over.
        broken: whether nothing more will come.
        blocked: whether the kernel takes nothing for now.
        awaited: what the poll looks for.
    """

    def __init__(self, path: Path, identity: bytes) -> None:
        self.ready = self.broken = self.blocked = False
        self.awaited = select.POLLIN
        self._framing = Framing()
        self._own = bytearray(opening(identity))  # goes before, and later between, the outbox's messages
        kind = socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_UNIX, kind)
        try:
            self._socket.connect(os.fspath(path))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close it; what the kernel has taken still arrives."""
        self._socket.close()

    def read(self) -> None:
        """Take in what has come; `message` then gives it out."""
        chunk = received(self._socket)
        if chunk is not None:
            self.broken = not chunk
            self._framing.feed(chunk)

    def message(self) -> list[bytes] | None:
        """The next message; None when there is none yet, or none any more (`broken`)."""
        try:
            frames = self._framing.message()
        except ProtocolError:
            self.broken = True
            return None
        if self._framing.ready and not self.ready:
            self.ready = True
            self._own += encode(hello().to_frames())
        return frames

    def take(self, message: bytes) -> int:
        """Give the kernel one message before which nothing waits; how many bytes it took."""
        if not self.ready or self.blocked or self._own:
            return 0
        try:
            return self._socket.send(message, socket.MSG_NOSIGNAL)
        except OSError:  # no room, or the end, which reading finds
            return 0

    def write(self, outbox: Outbox) -> bool:
        """Give the kernel what it takes; returns whether it took any."""
        moved = self.blocked = False
        try:
            while self._write_some(outbox):
                moved = True
        except BlockingIOError:
            self.blocked = True
        except OSError:  # reading finds what had come before, and then the end
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        return moved

    def _write_some(self, outbox: Outbox) -> int:
        if not self._own and self._framing.pong:
            self._own += self._framing.pong
            self._framing.pong = b""
        size = 0
        if self._own and not outbox.begun:
            size = self._socket.send(self._own, socket.MSG_NOSIGNAL)
            del self._own[:size]
        elif self.ready and outbox:
            size = self._socket.sendmsg(outbox.batch(), (), socket.MSG_NOSIGNAL)
            outbox.took(size)
        return size


def hello() -> Envelope:
    """What an actor announces itself with."""
    return Envelope("HELLO", id=os.urandom(16))
