"""Write what an overlay upper holds as a layer: the reverse of apply.

Names are sorted, whiteout devices become `.wh.` files and opaque directories get their marker, so that the
same upper always gives the same bytes. The upper may belong to a container that is still running: it is
walked by descriptor without following a link, what goes after it was listed is left out, and a file that
shrinks while it is read is an error.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path

from storage.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from storage.layer import tar_writer
from storage.layer.header import Entry, Kind, shown
from storage.layer.inode import OPEN_PATH, OVERLAY_XATTRS, describe, is_whiteout, listed, open_listed, opened
from storage.layer.lowers import OpenInRoot
from storage.layer.names import OPAQUE, WHITEOUT
from storage.layer.tree import join

_OPEN_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ_BYTES = 1 << 20
_NOT_A_LAYER = (b"redirect", b"metacopy")  # what these say about the layers below has no form in a tar


Owner = Callable[[int, int], tuple[int, int]]


def _as_found(uid: int, gid: int) -> tuple[int, int]:
    return uid, gid


@dataclass(frozen=True, slots=True)
class Written:
    """The result: diff ID ("sha256:..."), length of the tar in bytes, entries in it."""

    diff_id: str
    size: int
    entries: int


def write_layer(
    upper: Path,
    write: Callable[[bytes], object],
    *,
    open_in_root: OpenInRoot,
    userxattr: bool = False,
    owner: Owner = _as_found,
) -> Written:
    """Pass the tar of `upper` to `write`, piece by piece.

    Args:
        upper: An upper directory in overlay form.
        write: Takes all of what it is given.
        open_in_root: openat2 confined to the root it is given.
        userxattr: Opaque directories are marked as for a mount with that option.
        owner: What to write for user and group as they are found.

    Raises:
        InvalidArgumentError: A name begins with `.wh.`, which a layer cannot hold.
        FailedPreconditionError: The upper refers to its lowers (mounted with redirect_dir or metacopy).
        UnavailableError: A file became shorter while it was read.
        OSError: Reading failed.
    """
    with opened(os.open(upper, _OPEN_ROOT)) as root:
        books = b"user.overlay." if userxattr else b"trusted.overlay."
        return _Writer(root, write, open_in_root, books, owner).put_all(b"")


def write_tree(
    directory: int,
    name: bytes,
    write: Callable[[bytes], object],
    *,
    open_in_root: OpenInRoot,
    owner: Owner = _as_found,
    hollow: Container[int] = (),
) -> Written:
    """Pass a tar of what is called `name` in an open directory to `write`; links are kept, not followed.

    What goes while it is read is left out.

    Args:
        directory: a descriptor.
        name: in it.
        write: as for `write_layer`, as is `open_in_root`.
        open_in_root: openat2.
        owner: as for `write_layer`.
        hollow: devices (st_dev) that are met on the way: directories on them are written as empty ones.

    Raises:
        FileNotFoundError: There is no such name.
        InvalidArgumentError, UnavailableError, OSError: As `write_layer`.
    """
    writer = _Writer(directory, write, open_in_root, b"trusted.overlay.", owner, hollow)
    return writer.put_all(name)


class _Writer:
    def __init__(
        self,
        root: int,
        write: Callable[[bytes], object],
        open_in_root: OpenInRoot,
        books: bytes,
        owner: Owner,
        hollow: Container[int] = (),
    ) -> None:
        self._root = root
        self._write = write
        self._open_in_root = open_in_root
        self._books = books  # the prefix of overlayfs's own attributes
        self._owner = owner
        self._hollow = hollow
        self._hash = hashlib.sha256()
        self._size = 0
        self._entries = 0
        self._linked: dict[tuple[int, int], bytes] = {}

    def put_all(self, top: bytes) -> Written:
        """Write what is called `top` with all that is in it, and end the archive."""
        pending = self._put(top, self._open_in_root(self._root, top or b".", OPEN_PATH), top=True)
        while pending:
            path = pending.pop()
            fd = open_listed(self._open_in_root, self._root, path, OPEN_PATH)
            if fd >= 0:
                pending += self._put(path, fd)
        return self._finish()

    def _put(self, path: bytes, descriptor: int, *, top: bool = False) -> list[bytes]:
        """Write one file; for a directory, the paths in it, in the order in which a stack gives them back.

        The `top` is what was asked for, whatever it is on.
        """
        with opened(descriptor) as fd:
            status = os.fstat(fd)
            if is_whiteout(status):
                self._put_marker(path, WHITEOUT)
                return []
            if stat.S_ISSOCK(status.st_mode):
                return []  # of no use without the process that listens
            self._check_name(path)
            entry = describe(fd, path)
            entry.uid, entry.gid = self._owner(entry.uid, entry.gid)
            opaque = self._take_books(entry) and bool(path)
            if entry.kind is Kind.DIRECTORY:
                below = self._put_directory(fd, entry, opaque=opaque)
                return below if top or status.st_dev not in self._hollow else []
            self._put_file(fd, status, entry)
            return []

    def _put_directory(self, fd: int, entry: Entry, *, opaque: bool) -> list[bytes]:
        path = entry.name
        entry.name = join(path, b"") if path else b"./"
        self._put_headers(entry)
        if opaque:
            self._put_marker(join(path, OPAQUE), b"")
        return [join(path, name) for name in reversed(listed(fd))]

    def _put_file(self, fd: int, status: os.stat_result, entry: Entry) -> None:
        inode = (status.st_dev, status.st_ino)
        first = self._linked.get(inode)
        if first is not None:
            entry.kind, entry.link, entry.size, entry.xattrs = Kind.HARDLINK, first, 0, {}
        elif status.st_nlink > 1:
            self._linked[inode] = entry.name
        self._put_headers(entry)
        if entry.kind is Kind.REGULAR and entry.size:
            self._put_content(fd, entry)

    def _put_content(self, fd: int, entry: Entry) -> None:
        left = entry.size
        with opened(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)) as source:
            while left:
                data = os.read(source, min(left, _READ_BYTES))
                if not data:
                    raise UnavailableError(
                        f"file {shown(entry.name)}: became shorter while it was read, try again"
                    )
                left -= len(data)
                self._add(data)
        self._add(tar_writer.padding(entry.size))

    def _take_books(self, entry: Entry) -> bool:
        """Remove overlayfs's own attributes from the entry; whether they call the directory opaque."""
        books = {name: value for name, value in entry.xattrs.items() if name.startswith(OVERLAY_XATTRS)}
        for name in books:
            del entry.xattrs[name]
        for name in _NOT_A_LAYER:
            if self._books + name in books:
                raise FailedPreconditionError(
                    f"file {shown(entry.name)}: overlay {name.decode()} cannot be written as a layer, mount "
                    "without it"
                )
        return books.get(self._books + b"opaque") == b"y"

    def _check_name(self, path: bytes) -> None:
        if path.rpartition(b"/")[2].startswith(WHITEOUT):
            raise InvalidArgumentError(f"file {shown(path)}: names that begin with .wh. cannot be in a layer")

    def _put_marker(self, path: bytes, prefix: bytes) -> None:
        directory, _, name = path.rpartition(b"/")
        self._put_headers(Entry(join(directory, prefix + name), Kind.REGULAR, 0o600, 0, 0, 0, 0, b""))

    def _put_headers(self, entry: Entry) -> None:
        self._entries += 1
        self._add(tar_writer.headers(entry))

    def _add(self, data: bytes) -> None:
        self._hash.update(data)
        self._size += len(data)
        self._write(data)

    def _finish(self) -> Written:
        self._add(tar_writer.END)
        return Written(f"sha256:{self._hash.hexdigest()}", self._size, self._entries)
