"""Mounts: those that every container has, and its caller's. Pure: sources have been looked up before."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from actors.runtime.errors import InvalidSpecError
from actors.runtime.wishes import MountWish, Wishes

Mount = dict[str, Any]

INIT = "/dev/actord-init"  # on the container's own tmpfs, so that the image is left as it is
_SHM_BYTES = 64 << 20
_VOLUME = re.compile(r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*\Z", re.ASCII)

_PROPAGATION = frozenset(["private", "rprivate", "shared", "rshared", "slave", "rslave"])
_FLAGS = frozenset(
    ["ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "relatime", "sync"]
)
_BIND = _PROPAGATION | _FLAGS | {"bind", "rbind", "idmap"}
_TMPFS_KEYS = frozenset(["size", "mode", "uid", "gid", "nr_inodes"])


def default_mounts(wish: Wishes) -> list[Mount]:
    """The kernel's file systems and the container's own memory."""
    sys_options = "nosuid,noexec,nodev" + ("" if wish.privileged else ",ro")
    shm = f"nosuid,noexec,nodev,mode=1777,size={wish.shm_size or _SHM_BYTES}"
    mounts = [
        _mount("/proc", "proc", "proc", "nosuid,noexec,nodev"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
        _mount("/dev/shm", "tmpfs", "shm", shm),  # noqa: S108  (its place)
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
        _mount("/sys", "sysfs", "sysfs", sys_options),
        _mount("/run", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
    ]
    if wish.ipc == "host":  # a new mqueue in the host's namespace is the host's; memory has to be bound
        return [_of_host(mount) if mount["source"] == "shm" else mount for mount in mounts]
    return mounts


def _of_host(mount: Mount) -> Mount:
    place = mount["destination"]
    return _mount(place, "bind", place, "rbind,nosuid,noexec,nodev")


def _mount(destination: str, fstype: str, source: str, options: str) -> Mount:
    return {"destination": destination, "type": fstype, "source": source, "options": options.split(",")}


def caller_mount(wish: MountWish, source: str) -> Mount:
    """The OCI mount for what a caller wants; `source` is the host's path, empty for memory.

    Raises:
        InvalidSpecError: the target is no place, or an option is unknown or does not fit.
    """
    check_target(wish.target)
    options = [option for option in wish.options if option != "idmap"]  # done by us; see shifted.py
    if wish.type == "tmpfs":
        _check_options(
            wish, (option for option in options if option.partition("=")[0] not in _TMPFS_KEYS), _FLAGS
        )
        return _mount(
            wish.target, "tmpfs", "tmpfs", ",".join(_tmpfs_options(options, readonly=wish.readonly))
        )
    _check_options(wish, wish.options, _BIND)
    if not {"bind", "rbind"} & set(options):
        options.insert(0, "rbind")
    if not _PROPAGATION & set(options):
        options.append("rprivate")
    if wish.readonly:
        options = [*(option for option in options if option != "rw"), "ro"]
    return _mount(wish.target, "bind", source, ",".join(options))


def _tmpfs_options(options: list[str], *, readonly: bool) -> list[str]:
    given = {option.partition("=")[0] for option in options}
    defaults = [option for option in ("nosuid", "nodev") if option.removeprefix("no") not in given]
    mode = [] if "mode" in given else ["mode=1777"]
    return [*dict.fromkeys([*defaults, *mode, *options, *(["ro"] if readonly else [])])]


def _check_options(wish: MountWish, options: Iterable[str], known: frozenset[str]) -> None:
    for option in options:
        if option not in known:
            raise InvalidSpecError(
                f"mount at {wish.target}: option {option[:64]!r} is not known for {wish.type}"
            )


def check_target(target: str) -> None:
    """Refuse a target that is not an absolute path below the root. Raises InvalidSpecError."""
    parts = target.split("/")
    if not target.startswith("/") or ".." in parts or "\0" in target or not any(parts):
        raise InvalidSpecError(
            f"mount target {target[:256]!r} is not an absolute path below / and free of .."
        )


def check_mounts(mounts: Iterable[MountWish]) -> None:
    """Refuse a target or a volume's name that climbs, before it is recorded. Raises InvalidSpecError."""
    for one in mounts:
        check_target(one.target)
        if one.type == "volume" and one.source and not _VOLUME.match(one.source):
            raise InvalidSpecError(
                f"volume name {one.source[:76]!r} is not made of letters, digits and . _ -"
            )


def init_mount(program: str) -> Mount:
    """The host's small init, where the container can run it."""
    return _mount(INIT, "bind", program, "bind,ro,nosuid,nodev,rprivate")


def planned(wish: Wishes, mounts: Sequence[Mount]) -> list[Mount]:
    """The defaults, less those in whose place the caller puts something, then the caller's in their order.

    Raises:
        InvalidSpecError: two of the caller's have the same target.
    """
    targets = [_plain(mount["destination"]) for mount in mounts]
    for target in targets:
        if targets.count(target) > 1:
            raise InvalidSpecError(f"two mounts have the target {target}")
    kept = [mount for mount in default_mounts(wish) if mount["destination"] not in targets]
    return [*kept, *(dict(mount) for mount in mounts)]


def _plain(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part not in {"", "."})
