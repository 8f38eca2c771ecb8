"""Where lines of the log go: standard error, whoever reads it, and also when nobody does.

All processes of the daemon write to the same pipe, terminal or socket. One that is full for want of a reader
would hold up every actor, so no write waits: what there is no room for is dropped and counted, and the next
record that goes out is preceded by one that says how many are missing.
"""

import logging
import os
import socket
import stat
from typing import Final

_LOST: Final = "%d records were dropped: standard error had no room for them"


def own_description(descriptor: int) -> None:
    """Have a pipe or terminal open anew under its number, so that it alone refuses to wait.

    The flag belongs to the description, which the caller's shell shares. A socket cannot be opened again, and
    a file does not need it: where it fails, `Stream` does what it can.
    """
    kind = os.fstat(descriptor).st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISCHR(kind)):
        return
    try:
        fresh = os.open(
            f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        )
    except OSError:  # no /proc, or a pipe whose reader has gone: nobody waits for that one either
        return
    os.dup2(fresh, descriptor, inheritable=True)
    os.close(fresh)


class Stream(logging.Handler):
    """Writes records to a descriptor, and never waits for whoever reads there."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._is_socket = stat.S_ISSOCK(os.fstat(descriptor).st_mode)
        self._pid = os.getpid()
        self._lost = 0
        self._rest = b""  # of a record that went out in part

    def emit(self, record: logging.LogRecord) -> None:
        """As Handler has it."""
        self._own_count()
        missing = self._line(self._told()) if self._lost else b""
        if self._sent(self._rest) and not self._rest and self._sent(missing + self._line(record)):
            self._lost = 0
        else:
            self._lost += 1

    def _own_count(self) -> None:
        """What has been dropped before a fork, the other one tells."""
        if self._pid != os.getpid():
            self._pid, self._lost, self._rest = os.getpid(), 0, b""

    def _told(self) -> logging.LogRecord:
        return logging.LogRecord("log", logging.WARNING, __file__, 0, _LOST, (self._lost,), None)

    def _line(self, record: logging.LogRecord) -> bytes:
        return f"{self.format(record)}\n".encode(errors="backslashreplace")

    def _sent(self, text: bytes) -> bool:
        """Whether it is on its way; what there was no room for of it goes before the next one."""
        try:
            self._rest = text[self._write(text) :] if text else b""
        except OSError:  # full, or nobody is there any more
            return False
        return True

    def _write(self, text: bytes) -> int:
        if not self._is_socket:
            return os.write(self._descriptor, text)
        own = socket.socket(fileno=self._descriptor)
        try:
            return own.send(text, socket.MSG_DONTWAIT)
        finally:
            own.detach()
