"""What the name of a layer entry means: a place below the root, or a whiteout. Pure.

Source: image-spec layer.md, "Whiteouts". Names that begin with `.wh.` belong to the format, so a layer
cannot make a file of such a name; `.wh..wh.` other than the opaque marker is AUFS book-keeping that old
Docker images carry, and is ignored with what stands below it, but for the files in `.wh..wh.plnk`: AUFS kept
there what has several names, and those are hard links into it.
"""

import enum
from typing import NamedTuple

from storage.errors import InvalidArgumentError
from storage.layer.header import shown
from storage.layer.limits import Limits

WHITEOUT = b".wh."
_AUFS = b".wh..wh."
OPAQUE = b".wh..wh..opq"
LINKS = b".wh..wh.plnk"
_LONGEST_NAME = 255


class Meaning(enum.Enum):
    """What is to be done with an entry."""

    ROOT = enum.auto()
    PLACE = enum.auto()
    WHITEOUT = enum.auto()
    OPAQUE = enum.auto()
    LINKED = enum.auto()
    IGNORE = enum.auto()


class Target(NamedTuple):
    """A name, confined: `directory` below the root ("" is the root itself), and `name` in it."""

    meaning: Meaning
    directory: bytes = b""
    name: bytes = b""


_ROOT = Target(Meaning.ROOT)
_IGNORE = Target(Meaning.IGNORE)


def components(path: bytes) -> list[bytes]:
    """The parts of a path below a root: `.` and empty ones dropped, `..` resolved and stopped at the root."""
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if b".." not in parts:
        return parts
    kept: list[bytes] = []
    for part in parts:
        if part != b"..":
            kept.append(part)
        elif kept:
            kept.pop()
    return kept


def target(path: bytes, limits: Limits) -> Target:
    """What an entry called `path` is about.

    Raises:
        InvalidArgumentError: A component is too long, there are too many, or a whiteout names nothing.
    """
    parts = components(path)
    if not parts:
        return _ROOT
    if len(parts) > limits.depth or (len(path) > _LONGEST_NAME and max(map(len, parts)) > _LONGEST_NAME):
        raise InvalidArgumentError(
            f"layer entry {shown(path)}: more than {limits.depth} components or one beyond "
            f"{_LONGEST_NAME} bytes"
        )
    name = parts.pop()
    if WHITEOUT in path:
        return _reserved(path, parts, name)
    return Target(Meaning.PLACE, b"/".join(parts), name)


def _reserved(path: bytes, parents: list[bytes], name: bytes) -> Target:
    """The meaning of a name that has `.wh.` somewhere."""
    directory = b"/".join(parents)
    if directory == LINKS and not name.startswith(WHITEOUT):
        return Target(Meaning.LINKED, directory, name)
    if any(part.startswith(_AUFS) for part in parents):
        return _IGNORE
    if any(part.startswith(WHITEOUT) for part in parents):
        raise InvalidArgumentError(f"layer entry {shown(path)}: a directory cannot be named like a whiteout")
    if not name.startswith(WHITEOUT):
        return Target(Meaning.PLACE, directory, name)
    if name == OPAQUE:
        return Target(Meaning.OPAQUE, directory)
    if name.startswith(_AUFS):
        return _IGNORE
    victim = name.removeprefix(WHITEOUT)
    if victim in (b"", b".", b".."):
        raise InvalidArgumentError(f"layer entry {shown(path)}: the whiteout names no file")
    return Target(Meaning.WHITEOUT, directory, victim)
