"""Mounting, unmounting, and reading what is mounted.

A mount value is what a snapshot answers with: type, source and options in the words of mount(8). Overlay
options can exceed the kernel's page when every lower directory is named in full, so a value may carry a
`base`, to which its directories are relative. The working directory belongs to the whole process; such a
mount is therefore made in a thread of its own that has unshared it.
"""

import contextlib
import ctypes
import errno
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from actors.linux import idmap
from actors.linux.libc import checked, libc
from actors.linux.threads import CLONE_FS, in_own_thread

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_MANDLOCK = 64
MS_DIRSYNC = 128
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_REC = 16384
MS_SILENT = 32768
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8
_DIRECTORIES = frozenset(["lowerdir", "upperdir", "workdir"])
_SIGNS = (",", ":", "\\")  # what means something in the options of an overlay
_OPTIONS_BYTES = 4095  # the kernel copies one page, its closing zero included
_MOST_ROUNDS = 1024

_SET = {
    "bind": MS_BIND,
    "rbind": MS_BIND | MS_REC,
    "dirsync": MS_DIRSYNC,
    "lazytime": MS_LAZYTIME,
    "mand": MS_MANDLOCK,
    "noatime": MS_NOATIME,
    "nodev": MS_NODEV,
    "nodiratime": MS_NODIRATIME,
    "noexec": MS_NOEXEC,
    "nosuid": MS_NOSUID,
    "nosymfollow": MS_NOSYMFOLLOW,
    "relatime": MS_RELATIME,
    "remount": MS_REMOUNT,
    "ro": MS_RDONLY,
    "silent": MS_SILENT,
    "strictatime": MS_STRICTATIME,
    "sync": MS_SYNCHRONOUS,
}
_CLEAR = {
    "async": MS_SYNCHRONOUS,
    "atime": MS_NOATIME,
    "defaults": 0,
    "dev": MS_NODEV,
    "diratime": MS_NODIRATIME,
    "exec": MS_NOEXEC,
    "loud": MS_SILENT,
    "nolazytime": MS_LAZYTIME,
    "nomand": MS_MANDLOCK,
    "norelatime": MS_RELATIME,
    "nostrictatime": MS_STRICTATIME,
    "rw": MS_RDONLY,
    "suid": MS_NOSUID,
    "symfollow": MS_NOSYMFOLLOW,
}
_PROPAGATION = {
    f"{prefix}{name}": flag | recursion
    for name, flag in (
        ("private", MS_PRIVATE),
        ("shared", MS_SHARED),
        ("slave", MS_SLAVE),
        ("unbindable", MS_UNBINDABLE),
    )
    for prefix, recursion in (("", 0), ("r", MS_REC))
}
# What a bind mount takes only when it is remounted.
_NEEDS_REMOUNT = (
    MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_NOSYMFOLLOW
)


@dataclass(frozen=True, slots=True)
class Mount:
    """One thing to mount: containerd's mount value, and the directory its relative paths start from."""

    type: str
    source: str
    options: tuple[str, ...] = ()
    base: str | None = None


def shortened(value: Mount) -> Mount:
    """An overlay of too many directories, with these named from the one that they have in common."""
    if len(",".join(value.options)) <= _OPTIONS_BYTES:
        return value
    named = [word.partition("=") for word in value.options]
    paths = [path for name, _, said in named if name in _DIRECTORIES for path in said.split(":")]
    usable = value.type == "overlay" and paths and all(path.startswith("/") for path in paths)
    if not usable or any("\\" in path for path in paths):  # an escaped colon is not taken apart
        return value
    base = os.path.commonpath([Path(path).parent for path in paths])

    def relative(said: str) -> str:
        return ":".join(os.path.relpath(path, base) for path in said.split(":"))

    options = [
        f"{name}={relative(said)}" if name in _DIRECTORIES else name + equals + said
        for name, equals, said in named
    ]
    return Mount(value.type, value.source, tuple(options), base)


@dataclass(frozen=True, slots=True)
class Options:
    """Mount options as the system call takes them."""

    flags: int
    propagation: int
    data: str


_KERNELS_OWN = frozenset({
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "efivarfs",
    "fusectl", "mqueue", "proc", "pstore", "rpc_pipefs", "securityfs", "selinuxfs", "sysfs", "tracefs",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class MountPoint:
    """One line of /proc/self/mountinfo (proc_pid_mountinfo(5))."""

    mount_id: int
    parent_id: int
    device: int  # what stat(2) calls st_dev
    root: str
    target: str
    options: tuple[str, ...]
    propagation: tuple[str, ...]
    type: str
    source: str
    super_options: tuple[str, ...]


def parse_options(options: Iterable[str]) -> Options:
    """Words of mount(8) into flags, propagation flags and the file system's own option string.

    A later word wins over an earlier one. What is not known here is the file system's.
    """
    flags = propagation = 0
    data: list[str] = []
    for word in options:
        if word in _SET:
            flags |= _SET[word]
        elif word in _CLEAR:
            flags &= ~_CLEAR[word]
        elif word in _PROPAGATION:
            propagation = _PROPAGATION[word]
        else:
            data.append(word)
    return Options(flags, propagation, ",".join(data))


def mount(source: str, target: str, fstype: str = "", flags: int = 0, options: str = "") -> None:
    """A thin wrapper of the system call; `options` are the words that the file system itself reads.

    Raises:
        OSError: the kernel's reason; E2BIG when the option string exceeds its page.
    """
    packed = os.fsencode(options)
    if len(packed) > _OPTIONS_BYTES:
        raise OSError(errno.E2BIG, f"mount options of {len(packed)} bytes exceed {_OPTIONS_BYTES}", target)
    checked(
        libc.mount,
        ctypes.c_char_p(os.fsencode(source) or None),
        ctypes.c_char_p(os.fsencode(target)),
        ctypes.c_char_p(os.fsencode(fstype) or None),
        ctypes.c_ulong(flags),
        ctypes.c_char_p(packed or None),
        about=target,
    )


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


def bind(source: str, target: str, *, recursive: bool = False, read_only: bool = False) -> None:
    """Show the file or directory at a second place; read-only holds for the top mount, not those below."""
    words = ("rbind" if recursive else "bind", "ro" if read_only else "rw")
    mount_one(Mount("bind", source, words), target)


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
    plain = Mount(value.type, value.source, _writable_outside(options, value.base))
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


def _writable_outside(options: tuple[str, ...], base: str | None) -> tuple[str, ...]:
    """Upper and work directory by absolute paths, so that a clone of `base` does not lead to them."""
    named = (word.partition("=") for word in options)
    return tuple(
        f"{name}={base}/{path}" if name in {"upperdir", "workdir"} else name + equals + path
        for name, equals, path in named
    )


def _mount_from(base: str | None, value: Mount, target: str) -> None:
    """Mount with relative paths starting at `base`."""
    if base is None:
        _mount_here(value, target)
        return
    whole = _in_full(value, base)
    if whole is not None:
        _mount_here(whole, target)
        return

    def work() -> None:
        os.chdir(base)
        _mount_here(value, target)

    in_own_thread(CLONE_FS, work)


def _in_full(value: Mount, base: str) -> Mount | None:
    """The same by absolute paths, for which no thread has to change its directory (0.9 ms).

    None where they do not fit, or where overlayfs would read them otherwise than they are meant.
    """
    if value.type != "overlay" or any(sign in base for sign in _SIGNS):
        return None
    options = []
    for word in value.options:
        name, equals, said = word.partition("=")
        if name in _DIRECTORIES:
            said = ":".join(os.path.join(base, path) for path in said.split(":"))  # noqa: PTH118
        options.append(name + equals + said)
    fits = len(os.fsencode(",".join(options))) <= _OPTIONS_BYTES
    return Mount(value.type, value.source, tuple(options)) if fits else None


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


def read_only(value: Mount) -> Mount:
    """The same files without a writable layer: the upper of an overlay is one more of the lower ones.

    As the upper one it is not mapped where owners are shifted, and so it is not as a lower one.
    """
    if value.type != "overlay":
        return replace(value, options=("rbind", "ro"))
    if idmap.split(value.options)[0] is not None:
        value = replace(value, options=_writable_outside(value.options, value.base))
    named = dict(option.partition("=")[::2] for option in value.options)
    lowers = [named[name] for name in ("upperdir", "lowerdir") if name in named]
    own = ("lowerdir", "upperdir", "workdir")
    kept = [option for option in value.options if option.partition("=")[0] not in own]
    return replace(value, options=(*kept, "ro", f"lowerdir={':'.join(lowers)}"))


def _finish_bind(options: Options, target: str) -> None:
    """What takes further calls: the flags of a bind mount, and propagation."""
    flags = options.flags
    if flags & MS_BIND and flags & _NEEDS_REMOUNT and not flags & MS_REMOUNT:
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
            mount_all([_volatile(value) for value in values], target)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        else:
            return
    mount_all(values, target)


def _volatile(value: Mount) -> Mount:
    writable = value.type == "overlay" and any(word.startswith("upperdir=") for word in value.options)
    return replace(value, options=(*value.options, "volatile")) if writable else value


def _forget_volatile(value: Mount) -> None:
    """What was once mounted so is refused, since it has lost something if the machine went down meanwhile.

    What is brief does not outlive that, and the deaths of processes lose nothing.
    """
    for word in value.options:
        name, _, path = word.partition("=")
        if name == "workdir":
            shutil.rmtree(Path(value.base or "/", path, "work/incompat"), ignore_errors=True)


_OCTAL = re.compile(r"\\([0-7]{3})")


def _unescape(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text) if "\\" in text else text


def parse_mountinfo(text: str) -> list[MountPoint]:
    """The lines of a mountinfo file, in its order: a mount comes after the one it stands on."""
    return [_parse_line(line) for line in text.split("\n") if line]


def _parse_line(line: str) -> MountPoint:
    fields = line.split(" ")
    dash = fields.index("-", 6)
    fstype, source, super_options = fields[dash + 1 : dash + 4]
    return MountPoint(
        mount_id=int(fields[0]),
        parent_id=int(fields[1]),
        device=os.makedev(*map(int, fields[2].split(":"))),
        root=_unescape(fields[3]),
        target=_unescape(fields[4]),
        options=tuple(fields[5].split(",")),
        propagation=tuple(fields[6:dash]),
        type=fstype,
        source=_unescape(source),
        super_options=tuple(_unescape(super_options).split(",")),
    )


def kernel_devices(pid: int) -> frozenset[int]:
    """Devices of those mounts of a process whose files are no files, but the kernel's words.

    Raises:
        OSError: it has ended.
    """
    text = os.fsdecode(Path(f"/proc/{pid}/mountinfo").read_bytes())
    return frozenset(point.device for point in parse_mountinfo(text) if point.type in _KERNELS_OWN)


def mount_points() -> list[MountPoint]:
    """What is mounted in the mount namespace of this process."""
    return parse_mountinfo(_mountinfo())


def _mountinfo() -> str:
    return os.fsdecode(Path("/proc/self/mountinfo").read_bytes())


def mounted_below(path: str) -> list[MountPoint]:
    """The mounts on `path` and beneath it, in an order in which they can be unmounted.

    `path` is absolute and without symbolic links, as the kernel gives it. Each container asks when it goes,
    and there are lines of all others: only those that matter are read as a whole.
    """
    prefix = path.rstrip("/") + "/"
    lines = _mountinfo().split("\n")
    return [_parse_line(line) for line in reversed(lines) if _is_below(line, path, prefix)]


def _is_below(line: str, path: str, prefix: str) -> bool:
    target = _unescape(line.split(" ", 5)[4]) if line else ""
    return target == path or target.startswith(prefix)


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


def is_mount_point(path: str) -> bool:
    """Whether anything is mounted exactly there (bind mounts of files included)."""
    return any(point.target == path for point in mount_points())


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
