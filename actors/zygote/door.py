"""Where actors that outlived their zygote find the next one: a Unix socket in the state directory.

The kernel says who connects (SO_PEERCRED); nothing that a peer sends is needed for it.
"""

import contextlib
import os
import socket
from pathlib import Path

from actors.linux import descriptors
from actors.zygote.control import Control

WAITING = 4096


class Door:
    """A listening SOCK_SEQPACKET socket, for root alone."""

    def __init__(self, path: Path) -> None:
        """Bind `path`, in place of what an earlier zygote left there."""
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # the daemon's lock says that nobody else serves here
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self.socket.bind(os.fspath(path))
        path.chmod(0o600)
        self.socket.listen(WAITING)

    def accept(self) -> tuple[int, Control] | None:
        """The pid of the next one who knocks, and the channel to it; None when nobody is there any more.

        Raises:
            OSError: no descriptor is left for it; whoever knocks is still there.
        """
        try:
            connection, _ = self.socket.accept()
        except (BlockingIOError, ConnectionError):
            return None
        return descriptors.peer(connection).pid, Control(connection)


def knock(path: Path, at: int) -> None:
    """Connect to the zygote that listens at `path`, in place of what descriptor `at` was connected to.

    Descriptors are exchanged in one step (dup2), so that other threads never send to a closed number.

    Raises:
        OSError: nobody listens, or too many wait.
    """
    kind = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_UNIX, kind) as fresh:
        fresh.connect(os.fspath(path))
        fresh.setblocking(True)
        os.dup2(fresh.fileno(), at, inheritable=False)
