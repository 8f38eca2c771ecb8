"""Files in and out of a root that may belong to an attacker, as tar: what `actr cp` is made of.

Every name is resolved with the root as its root (openat2, RESOLVE_IN_ROOT), again for each entry, and what
is made is made by directory descriptor. Whoever swaps directories for links meanwhile only redirects the
copy to another place in the same root.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from storage.errors import InvalidArgumentError
from storage.layer import inode, names
from storage.layer.header import Entry, Kind, shown
from storage.layer.limits import DEFAULT_LIMITS, Limits
from storage.layer.lowers import OpenInRoot
from storage.layer.tar import TarReader, write_body

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_PLAIN = frozenset({Kind.REGULAR, Kind.DIRECTORY, Kind.SYMLINK, Kind.HARDLINK})
_SET_ID = 0o6000


@dataclass(frozen=True, slots=True)
class Landing:
    """Where an archive is to be unpacked.

    Attributes:
        root: a descriptor of the directory that nothing leaves.
        directory: below it; must be there.
        top: takes the place of the first component of each name; empty to keep it.
        contents: that component is left out.
        owner: owns everything, instead of whom the archive names; then neither set-id bits nor attributes nor
            devices are taken over, since they would be the owner's.
        shift: gives the owners to set for those that the archive names.
    """

    root: int
    directory: bytes
    top: bytes = b""
    contents: bool = False
    owner: tuple[int, int] | None = None
    shift: Callable[[int, int], tuple[int, int]] | None = None


def unpack(
    next_chunk: Callable[[], bytes],
    landing: Landing,
    *,
    open_in_root: OpenInRoot,
    limits: Limits = DEFAULT_LIMITS,
) -> int:
    """Unpack a tar; returns how many entries it had.

    Raises:
        InvalidArgumentError: the archive is malformed or beyond a limit.
        OSError: a file cannot be made.
    """
    reader = TarReader(next_chunk, limits)
    unpacker = _Unpacker(landing, reader, open_in_root)
    count = 0
    for entry in reader:
        count += 1
        unpacker.put(entry)
    return count


class _Unpacker:
    def __init__(self, landing: Landing, reader: TarReader, open_in_root: OpenInRoot) -> None:
        self._landing = landing
        self._reader = reader
        self._open_in_root = open_in_root

    def put(self, entry: Entry) -> None:
        parts = self._placed(entry.name)
        if self._landing.owner is not None:
            if entry.kind not in _PLAIN:
                return
            uid, gid = self._landing.owner
            entry = replace(entry, uid=uid, gid=gid, mode=entry.mode & ~_SET_ID, xattrs={})
        if self._landing.shift is not None:
            uid, gid = self._landing.shift(entry.uid, entry.gid)
            entry = replace(entry, uid=uid, gid=gid)
        if not parts:
            return  # the landing itself stays as it is
        with inode.opened(self._directory(parts[:-1])) as parent:
            if entry.kind is Kind.DIRECTORY:
                self._make_directory(parent, parts, entry)
            else:
                self._make(parent, parts[-1], entry)

    def _placed(self, name: bytes) -> list[bytes]:
        parts = names.components(name)
        if self._landing.contents:
            return parts[1:]
        return [self._landing.top, *parts[1:]] if self._landing.top and parts else parts

    def _directory(self, parts: list[bytes]) -> int:
        """Open a directory below the landing, making what is missing of it."""
        path = b"/".join([self._landing.directory, *parts])
        try:
            return self._open_in_root(self._landing.root, path, _OPEN_DIRECTORY)
        except FileNotFoundError:
            if not parts:
                raise
        with inode.opened(self._directory(parts[:-1])) as parent, contextlib.suppress(FileExistsError):
            os.mkdir(parts[-1], 0o755, dir_fd=parent)
        return self._open_in_root(self._landing.root, path, _OPEN_DIRECTORY)

    def _make_directory(self, parent: int, parts: list[bytes], entry: Entry) -> None:
        try:
            os.mkdir(parts[-1], 0o700, dir_fd=parent)
        except FileExistsError:
            with inode.opened(self._directory(parts)):
                return  # one that is there keeps its owner and mode
        with inode.opened(self._directory(parts)) as made:
            inode.dress(made, entry)

    def _make(self, parent: int, name: bytes, entry: Entry) -> None:
        try:
            self._make_fresh(parent, name, entry)
        except FileExistsError:
            try:
                os.unlink(name, dir_fd=parent)
            except IsADirectoryError:
                text = f"{shown(entry.name)} is no directory, but there is one in its place"
                raise InvalidArgumentError(text) from None
            self._make_fresh(parent, name, entry)

    def _make_fresh(self, parent: int, name: bytes, entry: Entry) -> None:
        if entry.kind is Kind.REGULAR:
            inode.make_file(parent, name, entry, lambda fd: write_body(fd, entry, self._reader))
        elif entry.kind is Kind.HARDLINK:
            target = self._placed(entry.link)
            if not target:
                raise InvalidArgumentError(f"{shown(entry.name)}: hard link without a target")
            with inode.opened(self._directory(target[:-1])) as source:
                os.link(target[-1], name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        else:
            inode.make_node(parent, name, entry)
