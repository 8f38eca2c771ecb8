"""What the kernel knows of a process, kept at a path: its exit too, whoever has died by then.

Linux keeps how a process ended for as long as its entry in pidfs is in use. A pidfd is such a use, and ends
with the last process that has it open; a mount of it is another, which needs no process (Linux 6.15).
"""

import contextlib
import os
from pathlib import Path

from actors.linux import mounts
from actors.linux.libc import checked, libc

_SYS_OPEN_TREE, _SYS_MOVE_MOUNT = 428, 429  # the same on every architecture
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4


def pin(pidfd: int, path: Path) -> None:
    """Mount a pidfd at `path`, which is made; one that is there already stays.

    Raises:
        OSError: EINVAL on an older kernel, where a pidfd cannot be mounted.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    if _is_pinned(path, path.stat()):
        return
    flags = _OPEN_TREE_CLONE | _AT_EMPTY_PATH | os.O_CLOEXEC
    tree = checked(libc.syscall, _SYS_OPEN_TREE, pidfd, b"", flags, about=str(path))
    try:
        target = os.fsencode(path)
        checked(libc.syscall, _SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, target, _MOVE_MOUNT_F_EMPTY_PATH)
    finally:
        os.close(tree)


def _is_pinned(path: Path, found: os.stat_result) -> bool:
    """Whether what was found at `path` is mounted there, and not the file that waits for that."""
    return found.st_dev != path.parent.stat().st_dev


def open_pinned(path: Path) -> int | None:
    """The pidfd that was mounted there, be its process dead and reaped; None without one."""
    with contextlib.suppress(FileNotFoundError):
        found = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if _is_pinned(path, os.fstat(found)):
            return found
        os.close(found)  # killed between making the file and mounting
    return None


def unpin(path: Path) -> None:
    """Let go of it; nothing there is fine."""
    with contextlib.suppress(OSError):
        mounts.umount(str(path), detach=True)
    path.unlink(missing_ok=True)
