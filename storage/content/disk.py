"""The few operations on files that durability is made of, and the translation of their errors."""

import errno
import fcntl
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from storage.digest import Hasher
from storage.errors import BusyError, StorageError, UnavailableError
from storage.room import FULL, no_room

PRIVATE_DIRECTORY: Final = 0o700
PRIVATE_FILE: Final = 0o600
CHUNK: Final = 1024 * 1024

_FLOCK: Final = "hhqqi0q"  # struct flock: kind, whence, start, length, pid, and the padding after it
_WHOLE_FILE: Final = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)

# Lack of a resource: the same call may succeed when there is more of it.
_TRANSIENT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR})


@contextmanager
def reported(action: str, place: Path | None = None) -> Iterator[None]:
    """Turn an operating-system error into a storage error that begins with `action`, at a path of ours.

    Raises:
        FullError: Space ran out.
        UnavailableError: Memory or descriptors did.
        StorageError: Anything else.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise no_room(f"cannot {action}", error, place) from error
        kind = UnavailableError if error.errno in _TRANSIENT else StorageError
        raise kind(f"cannot {action}: {(error.strerror or str(error)).lower()}") from error


def private_directory(path: Path) -> None:
    """Make `path` a directory that only its owner may enter, whatever it was before."""
    path.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    if path.stat().st_mode & 0o777 != PRIVATE_DIRECTORY:
        path.chmod(PRIVATE_DIRECTORY)


def write_file(path: Path, content: str) -> None:
    """Write a new small file; it is not durable yet."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE_FILE)
    try:
        os.write(descriptor, content.encode())
    finally:
        os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Make the directory `path` disappear in one step, then free its space.

    A kill in between leaves a sibling whose name begins with a dot, which recovery removes. What cannot be
    freed now is left the same way, for the next collection: for everybody else the directory is gone.
    """
    grave = Path(tempfile.mkdtemp(prefix=".gone-", dir=path.parent))
    path.rename(grave)
    shutil.rmtree(grave, ignore_errors=True)


def try_lock(descriptor: int, what: str) -> None:
    """Take the exclusive lock of a file that is open for writing; closing it, or dying, releases it.

    It belongs to the open file, not to the process: fcntl(2), F_OFD_SETLK. Unlike one of flock(2) it can be
    looked at without being taken, so that those who only look are in nobody's way.

    Raises:
        BusyError: Somebody else holds it.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _WHOLE_FILE)
    except (BlockingIOError, PermissionError):  # EACCES means the same: fcntl(2)
        raise BusyError(f"{what} is being written by somebody else: try again later") from None


def is_locked(descriptor: int) -> bool:
    """Whether somebody holds the lock of an open file."""
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _WHOLE_FILE)
    kind: int = struct.unpack(_FLOCK, answer)[0]
    return kind != fcntl.F_UNLCK


def hash_file(descriptor: int, length: int, hasher: Hasher) -> None:
    """Feed the first `length` bytes of an open file to `hasher`; its position stays where it is."""
    offset = 0
    while offset < length:
        chunk = os.pread(descriptor, min(CHUNK, length - offset), offset)
        if not chunk:
            raise OSError(errno.EIO, "file became shorter while it was read")
        hasher.update(chunk)
        offset += len(chunk)
