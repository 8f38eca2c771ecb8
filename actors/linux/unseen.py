"""Control groups in hierarchies of version 1 that are mounted nowhere.

On a hybrid host crun gets to see a controller as such a hierarchy (actors/linux/cgroups.py, in_private_view),
and makes a container's cgroup there too. It is reached by a mount that is part of no namespace (fsopen(2),
fsmount(2), since Linux 5.2), which takes a tenth of a millisecond; a view takes tens of them.
"""

import contextlib
import os
from collections.abc import Iterator

from actors.linux.cgroups import Layout, directories
from actors.linux.libc import checked, libc

_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 430, 431, 432  # the same on every architecture
_CLOEXEC = 1
_SET_FLAG, _CREATE = 0, 6


def remove(layout: Layout, cgroups_path: str) -> None:
    """Remove a container's cgroups, children first, from each of these hierarchies. None there is fine.

    Raises:
        OSError: EBUSY while a process is left in one.
        ValueError: as `directories`.
    """
    directories(layout, cgroups_path)  # checks the path
    for controller in layout.beyond_v1:
        with contextlib.ExitStack() as stack:
            try:
                top = stack.enter_context(hierarchy(controller))
            except OSError:  # another has the controller: then crun was not shown it either
                continue
            _remove(top, cgroups_path.strip("/"))


def _remove(top: int, path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        for directory, _, _, _ in os.fwalk(path, topdown=False, dir_fd=top):
            os.rmdir(directory, dir_fd=top)


@contextlib.contextmanager
def hierarchy(controller: str) -> Iterator[int]:
    """A descriptor of the top of a controller's hierarchy, for use as `dir_fd`.

    Raises:
        OSError: there is no such controller, or the unified tree uses it; or the kernel is older.
    """
    context = checked(libc.syscall, _SYS_FSOPEN, b"cgroup", _CLOEXEC, about=controller)
    try:
        checked(
            libc.syscall, _SYS_FSCONFIG, context, _SET_FLAG, controller.encode(), None, 0, about=controller
        )
        checked(libc.syscall, _SYS_FSCONFIG, context, _CREATE, None, None, 0, about=controller)
        top = checked(libc.syscall, _SYS_FSMOUNT, context, _CLOEXEC, 0, about=controller)
    finally:
        os.close(context)
    try:
        yield top
    finally:
        os.close(top)
