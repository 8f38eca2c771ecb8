"""The store itself: `blobs/<algorithm>/<hex>` and `ingest/<sha256 of the ref>/` below one directory.

One process owns a store and calls it from one thread; writers in other processes are kept apart by the
lock of each ingest. What a SIGKILL of the owner leaves after each step of a commit:

    before the rename       the ingest, whole: it is committed again, or resumed, or expires
    after the rename        the blob, and an ingest without data: one that is kept says which blob it
                            became, until `abort`; any other is no ingest, and goes with the next call for
                            that ref or with `recover`
    while removing          a directory whose name begins with a dot, which `recover` removes, and where
                            the disk refused instead of a kill, `clear_remains`
"""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage.content import ingest as ingests
from storage.content.disk import CHUNK, hash_file, private_directory, reported
from storage.content.ingest import Ingest, IngestStatus
from storage.content.reader import VerifiedReader
from storage.content.recovery import Recovery, clear_remains, recover
from storage.digest import HEX_LENGTHS, Digest, Hasher
from storage.durable import sync_directory, sync_names
from storage.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    StorageError,
    UnavailableError,
)

# An ingest that nobody has written to for so long is given up (as containerd does without a lease).
IDLE_SECONDS: Final = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Info:
    """A blob. `created` is when its last byte came, `updated` its inode; seconds since the epoch."""

    digest: Digest
    size: int
    created: float
    updated: float


class ContentStore:
    """Blobs by digest in the directory `root`, which its owner creates with mode 0700.

    A `reader` makes nothing and syncs nothing: one that is opened for each start of a container must not cost
    two waits for the disk.

    Every method raises UnavailableError when space or descriptors run out and StorageError when the disk
    fails otherwise, beside what it names itself.
    """

    def __init__(self, root: Path, *, reader: bool = False) -> None:
        self._blobs = root / "blobs"
        self._ingests = root / "ingest"
        if reader:
            return
        algorithms = [self._blobs / algorithm for algorithm in HEX_LENGTHS]
        with reported(f"prepare content store {root}", root):
            for directory in (root, self._blobs, self._ingests, *algorithms):
                private_directory(directory)
            sync_directory(self._blobs)
            sync_names(root)

    # Ingests

    def open_ingest(
        self, ref: str, *, expected: Digest | None = None, total: int | None = None, leased: bool = False
    ) -> Ingest:
        """Begin the ingest `ref`, or go on with it: its `offset` says how much is there.

        An ingest that was begun for another digest or size is begun again. Calling this twice is the same
        as once; nothing is locked until an `IngestWriter` is opened on the ingest's path. One that is
        `leased` is no longer left to its expiry: the caller aborts it when no lease holds it.

        Raises:
            AlreadyExistsError: The blob `expected` is here.
            UnavailableError: Somebody is writing this ref.
            InvalidArgumentError: The ref or total is malformed.
        """
        if expected is not None and self.has(expected):
            raise AlreadyExistsError(f"blob {expected} exists already")
        if total is not None and total < 0:
            raise InvalidArgumentError(f"ingest {ref!r} has a negative total")
        directory = self._ingest(ref)
        with reported(f"open ingest {ref!r}", self._ingests):
            current = self._resumable(ref, directory, expected, total)
            if current is None:
                ingests.create(directory, ref, expected, total)
            if leased:
                ingests.mark_leased(directory)
        return Ingest(ref, directory / ingests.DATA, current.offset if current else 0)

    def status(self, ref: str) -> IngestStatus:
        """How far the ingest `ref` is.

        Raises:
            NotFoundError: There is none.
        """
        with reported(f"look at ingest {ref!r}"):
            return ingests.status(self._ingest(ref))

    def statuses(self) -> Iterator[IngestStatus]:
        """All ingests, in no order. One that ends meanwhile may be missing."""
        for name in _names(self._ingests):
            try:
                with reported(f"look at ingest {name}"):
                    yield ingests.status(self._ingests / name)
            except StorageError:
                continue  # gone, or damaged: `recover` and `open_ingest` see to it

    def is_being_written(self, ref: str) -> bool:
        """Whether a writer has the ingest `ref` open right now."""
        with reported(f"look at ingest {ref!r}"):
            return ingests.is_locked(self._ingest(ref))

    def abort(self, ref: str) -> None:
        """Drop the ingest `ref`. A writer that has it open learns of it when it finishes.

        Raises:
            NotFoundError: There is none.
        """
        self.status(ref)
        ingests.discard(self._ingest(ref), ref)

    def expired(self, now: float, idle: float = IDLE_SECONDS) -> list[str]:
        """Refs of the ingests that nobody has open and nobody wrote to in the `idle` seconds before `now`.

        They stay until `abort`. Those under a lease do not expire.
        """
        silent = [one.ref for one in self.statuses() if not one.leased and one.updated < now - idle]
        return [ref for ref in silent if not self.is_being_written(ref)]

    # From ingest to blob

    def commit(
        self, ref: str, digest: Digest, size: int | None = None, *, verified: bool = False, keep: bool = False
    ) -> Info:
        """Make the ingest `ref` the blob `digest`, durably; `size` is its size in bytes if known.

        Not visible until it returns, complete from then on. Idempotent: when the blob exists, this
        succeeds, whether the ingest does or not. With `verified`, bytes that an `IngestWriter` has
        finished with this very digest, and nobody touched since, are not read again.

        With `keep` the ingest stays until `abort`, its status says that it is `committed`: for an owner who
        notes blobs elsewhere, and must not take this one for a stray if he is killed in between.

        Raises:
            NotFoundError: There is no such ingest, and no such blob.
            UnavailableError: A writer still has the ingest.
            FailedPreconditionError: Bytes are missing, and the ingest stays and can be resumed; or the disk
                did not take them, and it is gone.
            InvalidArgumentError: Digest or size are wrong; the ingest is gone.
        """
        if self.path(digest).is_file():
            return self._settle(ref, digest, size, keep=keep)
        directory = self._ingest(ref)
        with reported(f"commit ingest {ref!r}", self._ingests):
            with ingests.locked(directory, ref) as data:
                self._verify(directory, ref, data, digest, size, verified=verified)
                if keep:
                    ingests.mark_committed(directory, digest, os.fstat(data).st_size)
                self._publish(directory, ref, data, digest)
            if not keep:
                ingests.discard(directory, ref)
        return self.info(digest)

    # Blobs

    def has(self, digest: Digest) -> bool:
        """Whether the blob is here."""
        return digest.verifiable and self.path(digest).is_file()

    def path(self, digest: Digest) -> Path:
        """Where the blob is, or would be. Only ever to be read.

        Raises:
            InvalidArgumentError: The algorithm is one that the store cannot verify.
        """
        if not digest.verifiable:
            raise InvalidArgumentError(f"digest {digest} cannot be verified: use {' or '.join(HEX_LENGTHS)}")
        return self._blobs.joinpath(digest.algorithm, digest.hex)

    def info(self, digest: Digest) -> Info:
        """What is known of a blob.

        Raises:
            NotFoundError: It is not here.
        """
        with reported(f"look at blob {digest}"):
            try:
                found = self.path(digest).stat(follow_symlinks=False)
            except FileNotFoundError:
                raise _no_blob(digest) from None
        return Info(digest, found.st_size, found.st_mtime, found.st_ctime)

    def blobs(self) -> Iterator[Info]:
        """All blobs, in no order. Files with other names than digests are passed over."""
        for algorithm in HEX_LENGTHS:
            for name in _names(self._blobs / algorithm):
                try:
                    yield self.info(Digest(algorithm, name))
                except (InvalidArgumentError, NotFoundError):
                    continue

    def open(self, digest: Digest, *, verified: bool = False) -> io.BufferedReader:
        """Open a blob to read. With `verified` it is forward-only and fails where the disk has damaged it.

        Raises:
            NotFoundError: It is not here.
        """
        with reported(f"open blob {digest}"):
            try:
                stream = self.path(digest).open("rb")
            except FileNotFoundError:
                raise _no_blob(digest) from None
            size = os.fstat(stream.fileno()).st_size
        return io.BufferedReader(VerifiedReader(stream, digest, size), CHUNK) if verified else stream

    def read(self, digest: Digest, limit: int) -> bytes:
        """A small blob in one piece, verified.

        Raises:
            NotFoundError: It is not here.
            InvalidArgumentError: It has more than `limit` bytes.
            StorageError: The disk has damaged it.
        """
        size = self.info(digest).size
        if size > limit:
            raise InvalidArgumentError(f"blob {digest} has {size} bytes, more than the {limit} allowed here")
        with reported(f"read blob {digest}"), self.open(digest, verified=True) as stream:
            return stream.read()

    def delete(self, digest: Digest) -> None:
        """Remove a blob. Who has it open keeps it. A loss of power may bring it back.

        Raises:
            NotFoundError: It is not here.
        """
        with reported(f"delete blob {digest}"):
            try:
                self.path(digest).unlink()
            except FileNotFoundError:
                raise _no_blob(digest) from None

    # Start-up

    def recover(self) -> Recovery:
        """Put right what a crash of the last owner left; call it once, before anything else.

        Whole ingests stay, also while a writer that outlived the crash is at work on them. Their seals do
        not: after a loss of power a seal may be older than the data.
        """
        with reported("recover the content store", self._ingests):
            recovery = recover(self._ingests)
            for algorithm in HEX_LENGTHS:
                sync_directory(self._blobs / algorithm)  # a blob may have been renamed and not made durable
        return recovery

    def clear_remains(self) -> None:
        """Free what a failing disk did not let go of, as far as it does now."""
        with reported("clear the content store", self._ingests):
            clear_remains(self._ingests)

    def _ingest(self, ref: str) -> Path:
        return self._ingests / ingests.directory_name(ref)

    def _resumable(
        self, ref: str, directory: Path, expected: Digest | None, total: int | None
    ) -> IngestStatus | None:
        """The ingest as it is, if it can be gone on with; what cannot is removed."""
        try:
            current = ingests.status(directory)
            with ingests.locked(directory, ref):
                pass
        except UnavailableError:
            raise
        except StorageError:
            current = None
        if current and current.suits(expected, total):
            return current
        if directory.exists():
            ingests.discard(directory, ref)
        return None

    def _verify(
        self, directory: Path, ref: str, data: int, digest: Digest, size: int | None, *, verified: bool
    ) -> None:
        actual_size = os.fstat(data).st_size
        if size is not None and actual_size < size:
            raise FailedPreconditionError(
                f"ingest {ref!r} has {actual_size} of {size} bytes: resume it first"
            )
        if size is not None and actual_size > size:
            ingests.discard(directory, ref)
            raise InvalidArgumentError(f"ingest {ref!r} had {actual_size} bytes instead of {size}: discarded")
        if verified and ingests.is_sealed(directory, digest, actual_size):
            return
        hasher = Hasher(digest.algorithm)
        hash_file(data, actual_size, hasher)
        if hasher.digest() != digest:
            ingests.discard(directory, ref)
            raise InvalidArgumentError(
                f"ingest {ref!r} had digest {hasher.digest()} instead of {digest}: discarded"
            )

    def _publish(self, directory: Path, ref: str, data: int, digest: Digest) -> None:
        try:
            os.fsync(data)
        except OSError as error:
            # The kernel reports a failed write once and then calls the pages clean: a second fsync would
            # succeed over lost bytes, so these are never used again, and the same call cannot succeed.
            ingests.discard(directory, ref)
            reason = (error.strerror or str(error)).lower()
            text = f"cannot commit ingest {ref!r}: {reason}: discarded, begin again"
            raise FailedPreconditionError(text) from error
        blob = self.path(digest)
        (directory / ingests.DATA).rename(blob)
        sync_directory(blob.parent)

    def _settle(self, ref: str, digest: Digest, size: int | None, *, keep: bool) -> Info:
        """End the ingest of a blob that is here already."""
        info = self.info(digest)
        directory = self._ingest(ref)
        with reported(f"commit ingest {ref!r}", self._ingests):
            sync_directory(self.path(digest).parent)  # a crash may have come right after the rename
            if keep:
                ingests.become_committed(directory, digest, info.size)
            elif directory.exists():
                ingests.discard(directory, ref)
        if size is not None and size != info.size:
            raise InvalidArgumentError(f"blob {digest} has {info.size} bytes instead of {size}")
        return info


def _names(directory: Path) -> list[str]:
    with reported(f"list {directory}"):
        return [entry.name for entry in directory.iterdir() if not entry.name.startswith(".")]


def _no_blob(digest: Digest) -> NotFoundError:
    return NotFoundError(f"blob {digest} does not exist: pull or import it")
