"""What a container has changed: the paths of an overlay upper, against the layers below it."""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Literal, NamedTuple

from storage.layer.inode import OPEN_DIRECTORY, OPEN_PATH, is_whiteout, listed, open_listed, opened
from storage.layer.lowers import NO_LAYERS, Layers, Lowers, OpenInRoot
from storage.layer.tree import join

_OPEN_ROOT: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
OPAQUE_XATTR: Final = "trusted.overlay.opaque"


class Change(NamedTuple):
    """One path: added, changed (its content, or a directory's attributes or members), or deleted."""

    kind: Literal["A", "C", "D"]
    path: bytes


def changes(upper: Path, lowers: list[Path], *, open_in_root: OpenInRoot) -> Iterator[Change]:
    """Each path that differs, parents first, in the order of their names. Raises OSError.

    A container may be at work: what goes after it was listed is left out.
    """
    with ExitStack() as stack:
        root = stack.enter_context(opened(os.open(upper, _OPEN_ROOT)))
        roots = [stack.enter_context(opened(os.open(lower, _OPEN_ROOT))) for lower in lowers]
        below = Lowers(len(roots), roots.__getitem__, open_in_root, OPAQUE_XATTR)
        pending: list[tuple[bytes, Layers]] = [(b"", below.all)]
        while pending:
            path, layers = pending.pop()
            yield from _directory(root, path, layers, below, open_in_root, pending)


def _directory(
    root: int,
    path: bytes,
    layers: Layers,
    below: Lowers,
    open_in_root: OpenInRoot,
    pending: list[tuple[bytes, Layers]],
) -> Iterator[Change]:
    """The changes in one directory of the upper; its directories are left in `pending`."""
    descriptor = open_listed(open_in_root, root, path or b".", OPEN_DIRECTORY)
    if descriptor < 0:
        return
    with opened(descriptor) as fd:
        names, opaque = listed(fd), _is_opaque(fd)
    inner: list[tuple[bytes, Layers]] = []
    if opaque:
        hidden = {name for name in below.names(path, layers) if below.find(join(path, name), layers)}
        yield from (Change("D", join(path, name)) for name in sorted(hidden.difference(names)))
    for name in names:
        own = join(path, name)
        descriptor = open_listed(open_in_root, root, own, OPEN_PATH)
        if descriptor < 0:
            continue
        with opened(descriptor) as child:
            status = os.fstat(child)
        found = below.find(own, layers)
        if is_whiteout(status):
            if found:
                yield Change("D", own)
            continue
        yield Change("C" if found else "A", own)
        if stat.S_ISDIR(status.st_mode):
            inner.append((own, found.layers if found and found.is_directory else NO_LAYERS))
    pending += reversed(inner)


def _is_opaque(fd: int) -> bool:
    try:
        return os.getxattr(fd, OPAQUE_XATTR) == b"y"
    except OSError:
        return False
