"""Holes in files: parts whose blocks go back to the disk, while every offset stays what it was."""

import ctypes

from actors.linux.libc import checked, libc

_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # fallocate(2)


def punch(descriptor: int, end: int) -> None:
    """Free the bytes before `end`; they read as zeros then, and the size stays.

    Raises:
        OSError: EOPNOTSUPP where the file system has no holes.
    """
    if end > 0:
        offsets = ctypes.c_int64(0), ctypes.c_int64(end)
        checked(libc.fallocate64, descriptor, _PUNCH_HOLE | _KEEP_SIZE, *offsets)
