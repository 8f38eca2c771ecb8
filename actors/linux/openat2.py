"""openat2(2): open a path as if a directory were the root, so that no symbolic link leads out of it."""

import ctypes
import errno
import os

from actors.linux.libc import checked, libc

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_SYS_OPENAT2 = 437  # the same number on every architecture that Linux gained it on
_MOST_TRIES = 64


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_HOW_BYTES = ctypes.c_size_t(ctypes.sizeof(_OpenHow))
_NUMBER = ctypes.c_long(_SYS_OPENAT2)


def openat2(dir_fd: int, path: str | bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """A close-on-exec descriptor of `path`.

    Raises:
        OSError: with the call's errno; EXDEV when `resolve` forbids where the path leads.
        ValueError: the path holds a NUL byte.
    """
    raw = os.fsencode(path)
    if b"\0" in raw:
        raise ValueError("embedded null byte")
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    return checked(libc.syscall, _NUMBER, dir_fd, raw, ctypes.byref(how), _HOW_BYTES, about=os.fsdecode(path))


def open_in_root(root_fd: int, path: str | bytes, flags: int, mode: int = 0) -> int:
    """Open `path` with `root_fd` as its root: absolute links and `..` stay inside, magic links are refused.

    Raises:
        OSError: with the call's errno.
    """
    for _ in range(_MOST_TRIES):
        try:
            return openat2(root_fd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
        except OSError as error:
            if error.errno != errno.EAGAIN:  # the kernel's answer when a rename raced with a ".."
                raise
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), os.fsdecode(path))
