"""Ingests: blobs on their way in, each a directory named by the SHA-256 of its ref.

    ref         the caller's name for it, as it was given
    startedat   when it began, nanoseconds since the epoch
    total       how many bytes there will be, if known
    expected    the digest they will have, if known
    leased      there when it was opened under a lease: it goes with that, and does not wait for its expiry
    source      where its writer, or the last one, has the bytes from; not there if that was not said
    data        the bytes; its size is the offset to resume at, its mtime the last activity, and the
                lock of this file makes its holder the one writer
    part-N      window N of the bytes, up to where it has come, when it came before its turn (parts.py)
    sealed      written when a writer has finished: `digest size`. Exists only while both are true
    committed   `digest size`: the data has become that blob, which its owner has not noted elsewhere yet

A directory appears whole, by a rename, and disappears whole, by a rename.
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage.content import disk
from storage.content.disk import PRIVATE_FILE, remove_tree, reported, try_lock, write_file
from storage.digest import Digest
from storage.errors import InvalidArgumentError, NotFoundError, StorageError

MAX_REF_LENGTH: Final = 1024
DATA: Final = "data"
SEAL: Final = "sealed"
LEASED: Final = "leased"
SOURCE: Final = "source"
COMMITTED: Final = "committed"

# Enough for everything this module writes beside the data.
_NOTE_LIMIT: Final = 4096


@dataclass(frozen=True, slots=True)
class Ingest:
    """What a writer needs: the file to give to `IngestWriter`, and the offset to ask the source for."""

    ref: str
    path: Path
    offset: int


@dataclass(frozen=True, slots=True)
class IngestStatus:
    """How far an ingest is. Times are seconds since the epoch, sizes bytes; None means not known."""

    ref: str
    offset: int
    total: int | None
    expected: Digest | None
    started: float
    updated: float
    leased: bool = False
    committed: Digest | None = None
    source: str = ""

    def suits(self, expected: Digest | None, total: int | None) -> bool:
        """Whether what is there can become a blob of that digest and size, as far as either is known."""
        if expected and self.expected and expected != self.expected:
            return False
        if total is not None and self.total is not None and total != self.total:
            return False
        return total is None or self.offset <= total


def directory_name(ref: str) -> str:
    """The name of a ref's directory.

    Raises:
        InvalidArgumentError: The ref is empty, too long, or no text that UTF-8 can carry.
    """
    try:
        encoded = ref.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"ingest ref {ref[:80]!r} is not valid text") from error
    if not 0 < len(encoded) <= MAX_REF_LENGTH:
        raise InvalidArgumentError(f"ingest ref {ref[:80]!r} must have 1 to {MAX_REF_LENGTH} bytes")
    return hashlib.sha256(encoded).hexdigest()


def create(directory: Path, ref: str, expected: Digest | None, total: int | None) -> None:
    """Make an empty ingest. It is not visible until it is whole.

    It is not made durable: what a loss of power takes is begun again.
    """
    notes = {"ref": ref, "startedat": time.time_ns(), "total": total, "expected": expected, DATA: ""}
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=directory.parent))
    try:
        for name, content in notes.items():
            if content is not None:
                write_file(fresh / name, str(content))
        fresh.rename(directory)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def status(directory: Path) -> IngestStatus:
    """Read an ingest.

    Raises:
        NotFoundError: There is none, or only a part of one that a crash or a commit left.
        StorageError: It is there and damaged.
    """
    try:
        ref = _note(directory, "ref")
        committed, size, updated = _progress(directory)
        total, expected = _optional_note(directory, "total"), _optional_note(directory, "expected")
        return IngestStatus(
            ref=ref,
            offset=size,
            total=int(total) if total else None,
            expected=Digest.parse(expected) if expected else None,
            started=int(_note(directory, "startedat")) / 1e9,
            updated=updated,
            leased=(directory / LEASED).exists(),
            committed=committed,
            source=_optional_note(directory, SOURCE) or "",
        )
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"ingest {directory.name} does not exist: open it first") from None
    except (ValueError, InvalidArgumentError) as error:
        raise StorageError(f"ingest {directory.name} is damaged: abort it and begin again") from error


def _progress(directory: Path) -> tuple[Digest | None, int, float]:
    """The blob that the data has become, if it has; its size in bytes; the last activity."""
    try:
        data = (directory / DATA).stat()
    except FileNotFoundError:
        digest, size = _note(directory, COMMITTED).split()
        return Digest.parse(digest), int(size), (directory / COMMITTED).stat().st_mtime
    return None, data.st_size, data.st_mtime


def mark_committed(directory: Path, digest: Digest, size: int) -> None:
    """Note, before the data is moved there, which blob it becomes."""
    (directory / COMMITTED).unlink(missing_ok=True)  # of an attempt that was cut off
    write_file(directory / COMMITTED, f"{digest} {size}")


def become_committed(directory: Path, digest: Digest, size: int) -> None:
    """Let go of an ingest's data, since the blob is here already; one without data stays as it is."""
    data = directory / DATA
    if data.exists():
        mark_committed(directory, digest, size)
        data.unlink()


def mark_leased(directory: Path) -> None:
    """Note that a lease decides how long it is kept; twice is the same as once."""
    if not (directory / LEASED).exists():
        write_file(directory / LEASED, "")


@contextmanager
def locked(directory: Path, ref: str) -> Iterator[int]:
    """Hold the ingest against any writer; gives a descriptor of its data.

    Raises:
        NotFoundError: There is no such ingest (any more).
        UnavailableError: A writer has it.
    """
    what = f"ingest {ref!r}"
    try:
        descriptor = os.open(directory / DATA, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise NotFoundError(f"{what} does not exist: open it first") from None
    try:
        try_lock(descriptor, what)
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(directory: Path) -> bool:
    """Whether a writer has the ingest; not if there is none."""
    try:
        descriptor = os.open(directory / DATA, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        return disk.is_locked(descriptor)
    finally:
        os.close(descriptor)


def seal(directory: int, digest: Digest, size: int) -> None:
    """Record, for the holder of the lock, what the data is. `directory` is an open descriptor.

    The descriptor, and not a path, so that a writer whose ingest was aborted under it cannot seal its
    successor's.
    """
    _write_note(directory, SEAL, f"{digest} {size}")


def note_source(directory: int, source: str) -> None:
    """Record, for the holder of the lock, where the bytes come from; as `seal`. Nothing where it is empty."""
    if source:
        _write_note(directory, SOURCE, source)
        return
    with suppress(FileNotFoundError):
        os.unlink(SOURCE, dir_fd=directory)


def _write_note(directory: int, name: str, text: str) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE, dir_fd=directory)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def is_sealed(directory: Path, digest: Digest, size: int) -> bool:
    """Whether a writer of ours has hashed exactly these bytes, and none came after."""
    return _optional_note(directory, SEAL) == f"{digest} {size}"


def discard(directory: Path, ref: str) -> None:
    """Remove an ingest, in one step for every observer. A writer at work finds out when it finishes."""
    with reported(f"discard ingest {ref!r}", directory):
        remove_tree(directory)


def _note(directory: Path, name: str) -> str:
    with (directory / name).open("rb") as file:
        return file.read(_NOTE_LIMIT).decode()


def _optional_note(directory: Path, name: str) -> str | None:
    try:
        return _note(directory, name)
    except FileNotFoundError:
        return None
