"""The layers below, read as overlayfs would merge them.

A name is looked for from the nearest layer down. A whiteout, a file or an opaque directory ends the search.
Source: kernel Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from storage.layer.header import Entry
from storage.layer.inode import OPEN_DIRECTORY, OPEN_PATH, describe, is_whiteout, opened

OpenInRoot = Callable[[int, bytes, int], int]
"""openat2 with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS: (root descriptor, path, flags) -> descriptor."""

# So many levels of directories ask each other for further layers, each in some frames of the interpreter.
_DEPTH_AT_ONCE = 32
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Layers:
    """The layers that show a directory, nearest first; looked for as they are asked for.

    There may be hundreds, and most questions about what is in the directory are answered by the first.
    """

    def __init__(self, layers: Iterable[int]) -> None:
        self._known: list[int] = []
        self._further = iter(layers)

    def __iter__(self) -> Iterator[int]:
        at = 0
        while at < len(self._known) or self._look_further():
            yield self._known[at]
            at += 1

    def __bool__(self) -> bool:
        return bool(self._known) or self._look_further()

    def _look_further(self) -> bool:
        found = next(self._further, None)
        if found is not None:
            self._known.append(found)
        return found is not None


NO_LAYERS = Layers(())


@dataclass(frozen=True, slots=True)
class Found:
    """Something in the lower layers: its mode, and the layers it shows through (several for a directory)."""

    path: bytes
    mode: int
    nearest: int
    layers: Layers

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)


class Lowers:
    """`count` lower directories, nearest first; `root` gives a descriptor of each by its number.

    `opaque` is the name of the opaque attribute.
    """

    def __init__(self, count: int, root: Callable[[int], int], open_in_root: OpenInRoot, opaque: str) -> None:
        self._root = root
        self._open_in_root = open_in_root
        self._opaque = opaque
        self.all = Layers(range(count))

    def find(self, path: bytes, layers: Layers) -> Found | None:
        """What `path` is in `layers`, which are those that show its parent directory."""
        shown = self._shown(path, layers)
        first = next(shown, None)
        if first is None:
            return None
        nearest, mode = first
        further = Layers(chain((nearest,), (layer for layer, _ in shown)))
        if path.count(b"/") % _DEPTH_AT_ONCE == _DEPTH_AT_ONCE - 1:
            list(further)
        return Found(path, mode, nearest, further)

    def _shown(self, path: bytes, layers: Layers) -> Iterator[tuple[int, int]]:
        """Each layer that `path` shows through, and its mode there."""
        merged = False
        for layer in layers:
            seen = self._look(path, layer)
            if seen is None:
                continue
            status, opaque = seen
            if is_whiteout(status) or (merged and not stat.S_ISDIR(status.st_mode)):
                return
            yield layer, status.st_mode
            merged = True
            if opaque or not stat.S_ISDIR(status.st_mode):
                return

    def names(self, path: bytes, layers: Layers) -> set[bytes]:
        """All names that `layers` have in the directory `path`, hidden ones among them."""
        found: set[bytes] = set()
        for layer in layers:
            fd = self._open_in_root(self._root(layer), path or b".", OPEN_DIRECTORY)
            with opened(fd), os.scandir(fd) as children:
                found.update(os.fsencode(child.name) for child in children)
        return found

    def open(self, found: Found, flags: int) -> int:
        """A descriptor of the nearest of what was found."""
        return self._open_in_root(self._root(found.nearest), found.path or b".", flags)

    def describe(self, found: Found) -> Entry:
        """The attributes of the nearest of what was found."""
        with opened(self.open(found, OPEN_PATH)) as fd:
            return describe(fd, found.path)

    def readlink(self, found: Found) -> bytes:
        """Where a symbolic link leads."""
        with opened(self.open(found, OPEN_PATH)) as fd:
            return os.readlink(b"", dir_fd=fd)

    def _look(self, path: bytes, layer: int) -> tuple[os.stat_result, bool] | None:
        """Status and opaqueness of `path` in one layer, None when it is not there."""
        try:
            fd = self._open_in_root(self._root(layer), path or b".", OPEN_PATH)
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise
        with opened(fd):
            status = os.fstat(fd)
            return status, stat.S_ISDIR(status.st_mode) and self._is_opaque(fd)

    def _is_opaque(self, fd: int) -> bool:
        try:
            return os.getxattr(f"/proc/self/fd/{fd}", self._opaque) == b"y"
        except OSError as error:
            if error.errno in (errno.ENODATA, errno.ENOTSUP):
                return False
            raise
