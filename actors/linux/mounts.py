"""Mounting and unmounting.

The working directory, at which the relative paths of a mount value start, belongs to the whole process; such
a mount is therefore made in a thread of its own that has unshared it.
"""

import contextlib
import ctypes
import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from actors.linux import idmap
from actors.linux.libc import checked, libc
from actors.linux.mount_options import MS_BIND, MS_REC, MS_REMOUNT, NEEDS_REMOUNT, Options, parse_options
from actors.linux.mount_values import OPTIONS_BYTES, Mount, in_full, volatile, writable_outside
from actors.linux.mountinfo import is_mount_point, mounted_below
from actors.linux.threads import CLONE_FS, in_own_thread

_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8
_MOST_ROUNDS = 1024


def mount(source: str, target: str, fstype: str = "", flags: int = 0, options: str = "") -> None:
    """A thin wrapper of the system call; `options` are the words that the file system itself reads.

    Raises:
        OSError: the kernel's reason; E2BIG when the option string exceeds its page.
    """
    packed = os.fsencode(options)
    if len(packed) > OPTIONS_BYTES:
        raise OSError(errno.E2BIG, f"mount options of {len(packed)} bytes exceed {OPTIONS_BYTES}", target)
    checked(
        libc.mount,
        ctypes.c_char_p(os.fsencode(source) or None),
        ctypes.c_char_p(os.fsencode(target)),
        ctypes.c_char_p(os.fsencode(fstype) or None),
        ctypes.c_ulong(flags),
        ctypes.c_char_p(packed or None),
        about=target,
    )


def bind(source: str, target: str) -> None:
    """Show the file or directory at a second place."""
    mount_one(Mount("bind", source, ("bind", "rw")), target)


def mount_one(value: Mount, target: str) -> None:
    """Mount one value: every step of it, or none.

    With `uidmap=` and `gidmap=` among the options, owners are shifted (see idmap.py): what the mount is made
    of is cloned, and the clone goes onto the target first, below an overlay whose lower directories it has.
    The upper one is not mapped, as root, in whose name overlayfs works there, has no place in the map.

    Raises:
        OSError: as `mount`.
        ValueError: there is a map for one of users and groups only.
    """
    ids, options = idmap.split(value.options)
    target = str(Path(target).absolute())  # relative to where the caller stands, not to the base
    if ids is None:
        _mount_from(value.base, value, target)
        return
    plain = Mount(value.type, value.source, writable_outside(options, value.base))
    with idmap.mapped_clone(value.base or value.source, ids) as tree:
        idmap.attach(tree, target)
        try:
            if value.type == "bind":
                _finish_bind(parse_options(options), target)
            else:
                _mount_from(f"/proc/self/fd/{tree}", plain, target)
        except OSError:
            with contextlib.suppress(OSError):
                umount(target, detach=True)
            raise


def _mount_from(base: str | None, value: Mount, target: str) -> None:
    """Mount with relative paths starting at `base`."""
    if base is None:
        _mount_here(value, target)
        return
    whole = in_full(value, base)
    if whole is not None:
        _mount_here(whole, target)
        return

    def work() -> None:
        os.chdir(base)
        _mount_here(value, target)

    in_own_thread(CLONE_FS, work)


def _mount_here(value: Mount, target: str) -> None:
    options = parse_options(value.options)
    fstype = "" if value.type == "bind" else value.type
    flags = options.flags | (MS_BIND if value.type == "bind" else 0)
    mount(value.source, target, fstype, flags, options.data)
    try:
        _finish_bind(Options(flags, options.propagation, ""), target)
    except OSError:
        with contextlib.suppress(OSError):
            umount(target, detach=True)
        raise


def _finish_bind(options: Options, target: str) -> None:
    """What takes further calls: the flags of a bind mount, and propagation."""
    flags = options.flags
    if flags & MS_BIND and flags & NEEDS_REMOUNT and not flags & MS_REMOUNT:
        mount("", target, "", (flags & ~MS_REC) | MS_REMOUNT)
    if options.propagation:
        mount("", target, "", options.propagation)


def mount_all(values: Sequence[Mount], target: str) -> None:
    """Mount the values one over the other on one target; after a failure none of them is left.

    A SIGKILL between two of them leaves the earlier ones: `umount_below(target)` before trying again.

    Raises:
        OSError: as `mount`.
    """
    for done, value in enumerate(values):
        try:
            mount_one(value, target)
        except OSError:
            for _ in range(done):
                with contextlib.suppress(OSError):
                    umount(target, detach=True)
            raise


def mount_own(values: Sequence[Mount], target: str, *, brief: bool) -> None:
    """As `mount_all`. What is `brief` goes soon: nothing that is written to it is waited for to be on disk.

    Else all of an overlay's file system is written to disk when it is unmounted, and programs wait for their
    fsyncs (the kernel's overlayfs.rst, "Volatile mount"). Linux before 5.10 knows no other way.
    """
    for value in values:
        _forget_volatile(value)
    if brief:
        try:
            mount_all([volatile(value) for value in values], target)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        else:
            return
    mount_all(values, target)


def _forget_volatile(value: Mount) -> None:
    """What was once mounted so is refused, since it has lost something if the machine went down meanwhile.

    What is brief does not outlive that, and the deaths of processes lose nothing.
    """
    for word in value.options:
        name, _, path = word.partition("=")
        if name == "workdir":
            shutil.rmtree(Path(value.base or "/", path, "work/incompat"), ignore_errors=True)


def umount(target: str, *, detach: bool = False) -> None:
    """Call umount2(2); symbolic links are not followed. `detach` takes a busy mount out of the tree at once.

    Raises:
        OSError: EINVAL when nothing is mounted there, EBUSY when it is in use.
    """
    flags = _UMOUNT_NOFOLLOW | (_MNT_DETACH if detach else 0)
    checked(libc.umount2, ctypes.c_char_p(os.fsencode(target)), ctypes.c_int(flags), about=target)


def umount_stack(target: str) -> None:
    """Detach everything that is stacked on `target`, each with what is mounted beneath it; nothing is fine.

    The table of mounts is not looked at, which grows with each container.

    Raises:
        OSError: a mount would not go.
    """
    for _ in range(_MOST_ROUNDS):
        try:
            umount(target, detach=True)
        except OSError as error:
            if error.errno in {errno.EINVAL, errno.ENOENT}:
                return
            raise
    raise OSError(errno.EBUSY, f"more than {_MOST_ROUNDS} mounts", target)


def umount_within(path: str) -> None:
    """Detach what is mounted on `path`, and on what lies in it; nothing there is fine.

    For a directory with little in it, as it looks there and not at the table of mounts, which grows with each
    container. Nothing is looked into before what was mounted on it is gone.

    Raises:
        OSError: a mount would not go.
    """
    umount_stack(path)
    try:
        with os.scandir(path) as found:
            entries = [(one.path, one.is_dir(follow_symlinks=False)) for one in found]
    except FileNotFoundError:
        return
    for entry, is_directory in entries:
        (umount_within if is_directory else umount_stack)(entry)


def umount_below(path: str) -> None:
    """Detach everything mounted on `path` and beneath it. Nothing mounted is fine.

    Raises:
        OSError: a mount would not go.
    """
    for _ in range(_MOST_ROUNDS):
        found = mounted_below(path)
        if not found:
            return
        try:
            umount(found[0].target, detach=True)
        except OSError as error:
            # Somebody else may have been quicker; the next round looks again.
            if error.errno not in {errno.EINVAL, errno.ENOENT} or is_mount_point(found[0].target):
                raise
    raise OSError(errno.EBUSY, f"more than {_MOST_ROUNDS} mounts below", path)
