"""Idmapped mounts: files whose owners are seen shifted, while nothing on the disk changes.

A detached clone of a mount is given a user namespace, through whose maps the kernel shows every owner and
takes every new one (mount_setattr(2), since Linux 5.12; overlayfs as layers since 5.19). Such a namespace
must belong to some process while it is made: to a child that waits until it is killed.
"""

import contextlib
import errno
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.linux import detached
from actors.linux.libc import checked, libc
from actors.linux.threads import unshare

CLONE_NEWUSER = 0x10000000
_SYS_MOVE_MOUNT = 429  # the same on every architecture
_AT_FDCWD = -100
_MOVE_MOUNT_F_EMPTY_PATH = 4
_WORDS = ("uidmap=", "gidmap=")


@dataclass(frozen=True, slots=True)
class IdMap:
    """Lines of uid_map and gid_map (user_namespaces(7)): what is on the disk, what is seen, how many."""

    uids: str
    gids: str


def split(options: Sequence[str]) -> tuple[IdMap | None, tuple[str, ...]]:
    """The map that mount options ask for (`uidmap=0:100000:65536`, and the same for groups), and the rest.

    Raises:
        ValueError: there is a map for one of users and groups only.
    """
    maps = [word for word in options if word.startswith(_WORDS)]
    rest = tuple(word for word in options if not word.startswith(_WORDS))
    if not maps:
        return None, rest
    lines = {word[:3]: word.partition("=")[2].replace(":", " ").replace(",", "\n") for word in maps}
    if lines.keys() != {"uid", "gid"}:
        raise ValueError("a mount needs both a uidmap and a gidmap, or neither")
    return IdMap(lines["uid"], lines["gid"]), rest


@contextlib.contextmanager
def user_namespace(ids: IdMap) -> Iterator[int]:
    """A descriptor of a new user namespace with these maps. Raises OSError as `child_in_namespaces`."""
    with child_in_namespaces(ids) as pid:
        namespace = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield namespace
    finally:
        os.close(namespace)


@contextlib.contextmanager
def child_in_namespaces(
    ids: IdMap, flags: int = 0, furnish: Callable[[], None] = lambda: None
) -> Iterator[int]:
    """The pid of a child in a new user namespace with these maps, and in those of `flags`, owned by that.

    The child runs `furnish`, nothing but system calls, and waits; it is killed afterwards.

    Raises:
        OSError: the maps are refused, or user namespaces are off.
    """
    ready_read, ready_write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _wait_in_new_namespaces(flags, furnish, ready_write)
    try:
        os.close(ready_write)
        if os.read(ready_read, 1) != b"1":
            raise PermissionError(errno.EPERM, "no user namespace can be made: see user.max_user_namespaces")
        Path(f"/proc/{pid}/uid_map").write_text(ids.uids)
        Path(f"/proc/{pid}/gid_map").write_text(ids.gids)
        yield pid
    finally:
        os.close(ready_read)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _wait_in_new_namespaces(flags: int, furnish: Callable[[], None], ready: int) -> None:
    """In the child of a process with threads: nothing but system calls, and never back."""
    try:
        # Ends with its parent (prctl(2), PR_SET_PDEATHSIG).
        libc.prctl(1, signal.SIGKILL, 0, 0, 0)
        unshare(CLONE_NEWUSER | flags)
        furnish()
        os.write(ready, b"1")
        os.close(ready)
        signal.pause()
    finally:
        os._exit(1)


@contextlib.contextmanager
def mapped_clone(path: str, ids: IdMap) -> Iterator[int]:
    """A descriptor of a detached, idmapped clone of the mount that shows `path`.

    Raises:
        OSError: as `user_namespace`; EINVAL when the filesystem cannot be idmapped.
    """
    with detached.clone(path) as tree:
        with user_namespace(ids) as namespace:
            detached.change(tree, detached.IDMAP, namespace)
        yield tree


def attach(tree: int, target: str) -> None:
    """Put a detached mount on `target`. Raises OSError."""
    where = (_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
    checked(libc.syscall, *where, about=target)
