"""File descriptors passed between processes, and who is at the other end of a Unix socket.

The sockets are SOCK_SEQPACKET: one send is one message, so a payload and its descriptors arrive together
or not at all.
"""

import contextlib
import os
import select
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

MOST_DESCRIPTORS = 253
"""What the kernel takes in one message (SCM_MAX_FD)."""

_SO_SNDBUFFORCE = 32  # asm-generic/socket.h; the standard library does not name it
_NUMBER = struct.Struct("=i")
_CREDENTIALS = struct.Struct("=iII")


class NoRoomError(ValueError):
    """A message has come, and there was no descriptor left for one that came with it."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected, or made the socket pair: not necessarily the one that writes now."""

    pid: int
    uid: int
    gid: int


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends, close-on-exec, that keep message boundaries."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def enlarge_queue(connection: socket.socket, size: int) -> None:
    """Let about `size` bytes wait for the other end, beyond what the system allows others. Root only."""
    connection.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, size)


def send(connection: socket.socket, payload: bytes, descriptors: Sequence[int] = ()) -> None:
    """Send one message; the receiver gets duplicates, the caller keeps (and closes) its own.

    Raises:
        ValueError: the payload is empty (that would look like the end) or there are too many descriptors.
        OSError: the payload does not fit (EMSGSIZE), the peer is gone (EPIPE), or it would block.
    """
    if not payload or len(descriptors) > MOST_DESCRIPTORS:
        raise ValueError(f"a message carries a payload and at most {MOST_DESCRIPTORS} descriptors")
    if descriptors:
        socket.send_fds(connection, [payload], list(descriptors), socket.MSG_NOSIGNAL)
    else:
        connection.send(payload, socket.MSG_NOSIGNAL)


def receive(
    connection: socket.socket, most_bytes: int, most_descriptors: int = 16
) -> tuple[bytes, list[int]]:
    """The next message and its descriptors, which are close-on-exec and now the caller's to close.

    Raises:
        EOFError: the peer has closed.
        NoRoomError: this process may not open so many; nothing of the message is kept open.
        ValueError: the message exceeded a limit; the same.
        OSError: the socket failed, or would block.
    """
    # Not socket.recv_fds: Python 3.11 drops the flags it is given, and with them close-on-exec.
    room = socket.CMSG_LEN(most_descriptors * _NUMBER.size)
    payload, ancillary, seen, _ = connection.recvmsg(most_bytes, room, socket.MSG_CMSG_CLOEXEC)
    descriptors = [number for item in ancillary for number in _numbers(*item)]
    if seen & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        close_all(descriptors)
        if seen & socket.MSG_CTRUNC and len(descriptors) < most_descriptors:
            raise NoRoomError("too many open files for what came with a message")
        raise ValueError(f"message of more than {most_bytes} bytes or {most_descriptors} descriptors")
    if not payload:
        close_all(descriptors)
        raise EOFError("the peer has closed")
    return payload, descriptors


def is_ready(descriptor: int, event: int, seconds: float) -> bool:
    """Wait for one of poll(2)'s events or an end; whether it came. Also beyond select's 1,024 descriptors."""
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(1000 * seconds))


def _numbers(level: int, kind: int, packed: bytes) -> list[int]:
    if (level, kind) != (socket.SOL_SOCKET, socket.SCM_RIGHTS):
        return []
    whole = len(packed) - len(packed) % _NUMBER.size
    return [number for (number,) in _NUMBER.iter_unpack(packed[:whole])]


def close_all(descriptors: Iterable[int]) -> None:
    """Close each of them; one that is closed already does not keep the rest open."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


class Reserve:
    """A descriptor that is held for when there is no other. For a process with one thread."""

    def __init__(self) -> None:
        self._held = self._open()

    @staticmethod
    def _open() -> int:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Within the block there is one, which it has to have closed at its end."""
        os.close(self._held)
        try:
            yield
        finally:
            self._held = self._open()

    def close(self) -> None:
        """There is none any more."""
        os.close(self._held)


@contextlib.contextmanager
def closed_on_failure() -> Iterator[Callable[[int], int]]:
    """Gives what notes each descriptor that is opened in this block: if it fails, none of them stays open."""
    opened: list[int] = []

    def keep(descriptor: int) -> int:
        opened.append(descriptor)
        return descriptor

    try:
        yield keep
    except BaseException:
        close_all(opened)
        raise


def peer(connection: socket.socket) -> Peer:
    """Pid, user and group of the other end, as the kernel took them down when it connected (SO_PEERCRED)."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Peer(*_CREDENTIALS.unpack(packed))
