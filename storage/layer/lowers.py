"""The layers below, read as overlayfs would merge them.

A name is looked for from the nearest layer down. A whiteout, a file or an opaque directory ends the search.
Source: kernel Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
"""

import errno
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from storage.layer.header import Entry
from storage.layer.inode import OPEN_DIRECTORY, OPEN_PATH, describe, is_whiteout, opened

OpenInRoot = Callable[[int, bytes, int], int]
"""openat2 with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS: (root descriptor, path, flags) -> descriptor."""

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@dataclass(frozen=True, slots=True)
class Found:
    """Something in the lower layers: its mode, and the layers it shows through (several for a directory)."""

    path: bytes
    mode: int
    layers: tuple[int, ...]

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)


class Lowers:
    """Lower directories, nearest first, by descriptor. `opaque` is the name of the opaque attribute."""

    def __init__(self, roots: Sequence[int], open_in_root: OpenInRoot, opaque: str) -> None:
        self._roots = roots
        self._open_in_root = open_in_root
        self._opaque = opaque
        self.all = tuple(range(len(roots)))

    def find(self, path: bytes, layers: Sequence[int]) -> Found | None:
        """What `path` is in `layers`, which are those that show its parent directory."""
        merged: list[int] = []
        mode = 0
        for layer in layers:
            seen = self._look(path, layer)
            if seen is None:
                continue
            status, opaque = seen
            if is_whiteout(status) or (merged and not stat.S_ISDIR(status.st_mode)):
                break
            mode = mode or status.st_mode
            merged.append(layer)
            if opaque or not stat.S_ISDIR(status.st_mode):
                break
        return Found(path, mode, tuple(merged)) if merged else None

    def names(self, path: bytes, layers: Sequence[int]) -> set[bytes]:
        """All names that `layers` have in the directory `path`, hidden ones among them."""
        found: set[bytes] = set()
        for layer in layers:
            fd = self._open_in_root(self._roots[layer], path or b".", OPEN_DIRECTORY)
            with opened(fd), os.scandir(fd) as children:
                found.update(os.fsencode(child.name) for child in children)
        return found

    def open(self, found: Found, flags: int) -> int:
        """A descriptor of the nearest of what was found."""
        return self._open_in_root(self._roots[found.layers[0]], found.path or b".", flags)

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
            fd = self._open_in_root(self._roots[layer], path or b".", OPEN_PATH)
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
