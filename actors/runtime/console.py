"""The socket on which a runtime hands over the master of a terminal (runc docs/terminals.md, "detached")."""

import os
import socket
from pathlib import Path

from actors.linux import descriptors

NAME = "console"
TAKE_LIMIT = 5.0  # seconds; when the runtime has ended, the terminal waits in the socket already
MOST_NAME = 4096  # bytes


class ConsoleSocket:
    """Listens in a directory. A runtime is given a path through /proc: a socket's must be short.

    Attributes:
        listener: the listening descriptor: whoever keeps it keeps what is on its way through it.
    """

    def __init__(self, directory: Path) -> None:
        """Listen, in place of whatever a crash left there."""
        (directory / NAME).unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._folder = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._socket.bind(f"/proc/self/fd/{self._folder}/{NAME}")
        self._socket.listen(1)
        self.listener = self._socket.fileno()

    @property
    def path(self) -> Path:
        """For the runtime, as long as this object is open."""
        return Path(f"/proc/{os.getpid()}/fd/{self._folder}/{NAME}")

    def take(self) -> int:
        """The master. Raises OSError, EOFError or ValueError: none came."""
        return take(self._socket)

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()
        os.close(self._folder)


def take_kept(listener: int) -> int:
    """The master that waits at a listening socket which somebody has kept, and which is closed. As `take`."""
    with socket.socket(fileno=listener) as found:
        return take(found)


def take(listener: socket.socket) -> int:
    """The master that waits at a listening socket; as `ConsoleSocket.take`."""
    listener.settimeout(TAKE_LIMIT)
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(TAKE_LIMIT)
        _, found = descriptors.receive(connection, MOST_NAME, 1)
    if not found:
        raise EOFError("the runtime has sent no terminal")
    os.set_blocking(found[0], False)
    return found[0]
