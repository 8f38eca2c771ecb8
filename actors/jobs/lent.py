"""Streams over a descriptor that a client has lent: its position is the client's, too."""

import os
import select
import stat

from storage.layer.compression import READ_BYTES


class LentStream:
    """Reads from where the client stands: of a file without moving it, so that it can be read anew."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._offset = os.lseek(fd, 0, os.SEEK_CUR) if is_file(fd) else None

    def read(self, size: int = READ_BYTES, /) -> bytes:
        """At most `size` bytes; none only at the end."""
        if self._offset is None:
            return _read_pipe(self._fd, size)
        data = os.pread(self._fd, size, self._offset)
        self._offset += len(data)
        return data


def is_file(fd: int) -> bool:
    """Whether it is a regular file, which can be read or written anew."""
    return stat.S_ISREG(os.fstat(fd).st_mode)


def is_directory(fd: int) -> bool:
    """Whether it is a directory."""
    return stat.S_ISDIR(os.fstat(fd).st_mode)


def begin_file(fd: int, at: int = 0) -> None:
    """Go back to `at`, and take away what an interrupted attempt has written there: the end of the file."""
    if os.lseek(fd, 0, os.SEEK_CUR) >= os.fstat(fd).st_size:
        os.ftruncate(fd, at)
    os.lseek(fd, at, os.SEEK_SET)


def _read_pipe(fd: int, size: int) -> bytes:
    while True:
        try:
            return os.read(fd, size)
        except BlockingIOError:  # somebody made it non-blocking
            select.select([fd], [], [])
