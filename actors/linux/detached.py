"""Detached mounts: a clone of one that stands nowhere, is reached by its descriptor, and goes with it.

open_tree(2), and mount_setattr(2) of Linux 5.12.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator

from actors.linux.libc import checked, libc

READ_ONLY, IDMAP = 0x1, 0x00100000
_SYS_OPEN_TREE, _SYS_MOUNT_SETATTR = 428, 442  # the same on every architecture
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_OPEN_TREE_CLONE = 1


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


@contextlib.contextmanager
def clone(path: str) -> Iterator[int]:
    """A descriptor of a detached clone of the mount that shows `path`. Raises OSError."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC
    tree = checked(libc.syscall, _SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags, about=path)
    try:
        yield tree
    finally:
        os.close(tree)


def change(tree: int, attributes: int, namespace: int = 0) -> None:
    """Set attributes of a detached mount; `namespace` is the user namespace for IDMAP.

    Raises:
        OSError: ENOSYS before Linux 5.12; EINVAL when the filesystem cannot be idmapped.
    """
    wanted = _MountAttr(attributes, 0, 0, namespace)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    checked(libc.syscall, _SYS_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.byref(wanted), size)


def open_unchangeable(path: str) -> int:
    """Open a device node to read and write so that nobody can change its owner or mode by the descriptor.

    Devices are written to on a mount that is read-only, too; their nodes are not. Raises OSError.
    """
    with clone(path) as tree:
        change(tree, READ_ONLY)
        return os.open(f"/proc/self/fd/{tree}", os.O_RDWR | os.O_CLOEXEC)
