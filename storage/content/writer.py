"""Writing to an ingest, by the process that has the bytes.

A writer hashes what passes through it, so that a blob that arrived in one piece is never read again.
SIGKILL at any moment leaves an ingest that the next writer resumes at its size.
"""

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from storage.content.disk import hash_file, reported, try_lock
from storage.content.ingest import DATA, MAX_REF_LENGTH, SEAL, note_source, seal
from storage.digest import SHA256, Digest, Hasher
from storage.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
)


class IngestWriter:
    """The one writer of an ingest, from construction to `close` (a `with` block closes).

    `limit` is the most bytes the ingest may have in all, None for no limit. `algorithm` is that of the
    digest it will be committed under. `path` is the file that it writes. `source` tells those who wait for it
    where the bytes come from.

    Raises:
        NotFoundError: The ingest is not there (any more).
        UnavailableError: Somebody else is writing it.
        InvalidArgumentError: The algorithm is unknown.
    """

    def __init__(self, path: Path, *, limit: int | None, algorithm: str = SHA256, source: str = "") -> None:
        self._hasher = Hasher(algorithm)
        self._limit = limit
        self._finished = False
        self._directory = self._data = -1
        self._what = f"ingest {path.parent.name}"
        self.path = path
        try:
            with reported(f"open {self._what}", path):
                self._open(path, source)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path, source: str) -> None:
        try:
            self._directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            self._what = f"ingest {_read_ref(self._directory)!r}"
            self._data = os.open(DATA, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW, dir_fd=self._directory)
            try_lock(self._data, self._what)
            # A commit may have come between opening and locking: then this file is a blob by now, and its
            # name here is gone. The name is never given to another file in this directory.
            self._offset = os.stat(DATA, dir_fd=self._directory).st_size
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(f"{self._what} does not exist: open it in the store first") from None
        self._break_seal()
        note_source(self._directory, source)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def offset(self) -> int:
        """Where the next byte goes, and how many there are so far."""
        return self._offset

    def start_at(self, offset: int) -> None:
        """Say where the source begins: at `self.offset`, or at 0, which drops what is there.

        Raises:
            OutOfRangeError: Any other offset.
        """
        self._check_open()
        if offset == self._offset:
            return
        if offset != 0:
            raise OutOfRangeError(
                f"{self._what} is at offset {self._offset}, not {offset}: continue there or at 0"
            )
        with reported(f"truncate {self._what}"):
            os.ftruncate(self._data, 0)
        self._offset = 0
        self._hasher = Hasher(self._hasher.algorithm)

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Append.

        Raises:
            InvalidArgumentError: There would be more bytes than the limit; none of the chunk is written.
            UnavailableError: The disk is full; what could be written has been, see `offset`.
        """
        self._check_open()
        if self._limit is not None and self._offset + len(chunk) > self._limit:
            raise InvalidArgumentError(f"{self._what} gets more than the {self._limit} bytes announced")
        self._catch_up()
        rest = memoryview(chunk).cast("B")
        with reported(f"write {self._what}", self.path):
            while rest:
                written = os.write(self._data, rest)
                self._hasher.update(rest[:written])
                self._offset += written
                rest = rest[written:]

    def digest(self) -> Digest:
        """That of all there is so far. Raises UnavailableError: it cannot be read."""
        self._check_open()
        self._catch_up()
        return self._hasher.digest()

    def finish(self) -> Digest:
        """Make the bytes durable and give their digest, which the store may then trust.

        No more can be written. The ingest stays locked until `close`.

        Raises:
            NotFoundError: The ingest was aborted meanwhile.
            StorageError: The bytes could not be made durable, and are dropped.
        """
        digest = self.digest()
        with reported(f"make {self._what} durable", self.path):
            self._sync()
            try:
                seal(self._directory, digest, self._offset)
            except FileNotFoundError:
                raise NotFoundError(f"{self._what} was aborted: begin again") from None
        self._finished = True
        return digest

    def _sync(self) -> None:
        try:
            os.fsync(self._data)
        except OSError:
            # The kernel says so once and then calls the pages clean: whoever went on with these bytes would
            # be told that all is well, and lose them with the next loss of power.
            with suppress(OSError):
                os.ftruncate(self._data, 0)
            self._offset, self._hasher = 0, Hasher(self._hasher.algorithm)
            raise

    def close(self) -> None:
        """Let the next writer in. What was written stays, finished or not."""
        for descriptor in (self._data, self._directory):
            if descriptor >= 0:
                os.close(descriptor)
        self._data = self._directory = -1

    def _check_open(self) -> None:
        if self._data < 0 or self._finished:
            raise FailedPreconditionError(f"{self._what} is closed or finished: open a new writer")

    def _catch_up(self) -> None:
        """Hash what earlier writers left: only now, as the source may still choose to start at 0."""
        if self._hasher.size < self._offset:
            with reported(f"read {self._what}"):
                hash_file(self._data, self._offset, self._hasher)

    def _break_seal(self) -> None:
        try:
            os.unlink(SEAL, dir_fd=self._directory)
        except FileNotFoundError:
            return


def _read_ref(directory: int) -> str:
    descriptor = os.open("ref", os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory)
    try:
        return os.read(descriptor, MAX_REF_LENGTH).decode()
    finally:
        os.close(descriptor)
