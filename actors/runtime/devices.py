"""Devices: which nodes a container has and may use. The pure part works on nodes looked up before."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.runtime.errors import InvalidSpecError
from actors.runtime.wishes import DeviceWish

# Null, zero, full, random, urandom, tty, console, ptmx, and the pseudo terminals.
_DEFAULT: tuple[tuple[int, int | None], ...] = (
    *((1, minor) for minor in (3, 5, 7, 8, 9)),
    *((5, minor) for minor in (0, 1, 2)),
    (136, None),
)
# What the runtime makes itself, and what of the host's /dev is not a device but a place.
_MADE = frozenset(
    "/dev/" + name for name in ["null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"]
)
_PLACES = frozenset({"pts", "shm", "mqueue", "fd"})


@dataclass(frozen=True, slots=True)
class Node:
    """A device node to be made in the container: `kind` is c or b."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int
    access: str = "rwm"


def look_up(wish: DeviceWish) -> Node:
    """The host's node that a caller names.

    Raises:
        InvalidSpecError: it is not there, is no device, or the access makes no sense.
    """
    target = wish.target or wish.source
    if not target.startswith("/") or ".." in target.split("/"):
        raise InvalidSpecError(f"device target {target[:64]!r} is not absolute and free of ..")
    if not wish.access or set(wish.access) - set("rwm"):
        raise InvalidSpecError(f"device access {wish.access[:16]!r} is not made of r, w and m")
    found = _node(Path(wish.source), target, wish.access)
    if found is None:
        raise InvalidSpecError(f"{wish.source[:256]!r} is not a device of this host")
    return found


def all_of_host() -> tuple[Node, ...]:
    """Every device node of the host that the runtime does not make itself: for a privileged container."""
    found = (_node(path, str(path), "rwm") for path in _below(Path("/dev")))
    return tuple(node for node in found if node is not None and node.path not in _MADE)


def _below(directory: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in _PLACES:
                yield from _below(Path(entry.path))
        elif not entry.is_symlink():
            yield Path(entry.path)


def _node(path: Path, target: str, access: str) -> Node | None:
    try:
        status = path.stat()
    except OSError:
        return None
    kinds = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}
    kind = kinds.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        return None
    number = status.st_rdev
    mode = stat.S_IMODE(status.st_mode)
    return Node(target, kind, os.major(number), os.minor(number), mode, status.st_uid, status.st_gid, access)


def nodes(found: Iterable[Node]) -> list[dict[str, Any]]:
    """`linux.devices`."""
    return [
        {
            "path": node.path,
            "type": node.kind,
            "major": node.major,
            "minor": node.minor,
            "fileMode": node.mode,
            "uid": node.uid,
            "gid": node.gid,
        }
        for node in found
    ]


def rules(found: Iterable[Node], *, everything: bool) -> list[dict[str, Any]]:
    """`linux.resources.devices`: denied but for the usual ones and those found, or `everything`."""
    if everything:
        return [{"allow": True, "access": "rwm"}]
    listed: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    for major, minor in _DEFAULT:
        rule = {"allow": True, "type": "c", "major": major, "access": "rwm"}
        listed.append(rule if minor is None else {**rule, "minor": minor})
    for node in found:
        rule = {"allow": True, "type": node.kind, "major": node.major, "minor": node.minor}
        listed.append({**rule, "access": node.access})
    return listed
