"""An OCI layout on its way out: as a tar into a descriptor, or as files into a directory.

The tar depends on nothing but what is put into it: no times, no owners.
"""

import os
import select
import shutil
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from storage.archive.docker import MANIFEST_FILE
from storage.archive.layout import BLOBS, HEADER_FILE, INDEX_FILE
from storage.errors import FailedPreconditionError
from storage.layer import tar_writer
from storage.layer.header import Entry, Kind

DOCUMENTS: Final = (HEADER_FILE, INDEX_FILE, MANIFEST_FILE)
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Sink(Protocol):
    """Where files go, in order."""

    def put(self, name: str, size: int, pieces: Iterable[bytes]) -> None:
        """One file of `size` bytes."""

    def finish(self) -> None:
        """End, and make it durable where that means something."""


class TarSink:
    """A tar, written piece by piece with `write`, which takes all of what it is given."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def put(self, name: str, size: int, pieces: Iterable[bytes]) -> None:
        """One entry, owned by root, of the epoch."""
        self._write(tar_writer.headers(Entry(name.encode(), Kind.REGULAR, 0o644, 0, 0, size, 0, b"")))
        for piece in pieces:
            self._write(piece)
        self._write(tar_writer.padding(size))

    def finish(self) -> None:
        """The two blocks that end a tar."""
        self._write(tar_writer.END)


class DirectorySink:
    """Files below the open directory `root`, which must be empty."""

    def __init__(self, root: int, *, again: bool = False) -> None:
        """`again`: it was empty, and what is there is what an attempt that was cut off has written."""
        if again:
            remove_layout(root)
        if os.listdir(root):
            raise FailedPreconditionError("the directory is not empty: name one that is, or a new one")
        self._root = root
        self._folders: dict[str, int] = {"": os.dup(root)}

    def put(self, name: str, size: int, pieces: Iterable[bytes]) -> None:
        """One file, durable when this returns."""
        del size
        folder, _, own = name.rpartition("/")
        descriptor = os.open(own, _CREATE, 0o644, dir_fd=self._folder(folder))
        try:
            for piece in pieces:
                write_all(descriptor, piece)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _folder(self, name: str) -> int:
        if name not in self._folders:
            above, _, own = name.rpartition("/")
            parent = self._folder(above)
            os.mkdir(own, 0o755, dir_fd=parent)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            self._folders[name] = os.open(own, flags, dir_fd=parent)
        return self._folders[name]

    def finish(self) -> None:
        """Make the names durable."""
        for descriptor in self._folders.values():
            os.fsync(descriptor)
            os.close(descriptor)
        self._folders.clear()


def remove_layout(root: int) -> None:
    """Remove what a save may have written into the open directory `root`, and nothing else."""
    for name in {BLOBS, *DOCUMENTS}.intersection(os.listdir(root)):
        if name == BLOBS:
            shutil.rmtree(name, dir_fd=root)
        else:
            os.unlink(name, dir_fd=root)


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """Write all of it, waiting where somebody made the descriptor non-blocking. Raises OSError."""
    rest = memoryview(content)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
