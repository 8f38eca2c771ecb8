"""Backups of the stores, in worker threads of the collector: a directory that is there whole or not at all.

It is written beside its place under a name of its own, and locked for as long. What a crash leaves of one is
recognized by having that name and no lock, and goes with the next backup into the same place.
"""

import fcntl
import os
import re
import secrets
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from actors import messages as m
from actors.keeping import Asking
from storage.content.disk import reported
from storage.durable import sync_directory
from storage.errors import AlreadyExistsError, InvalidArgumentError

COPY_LIMIT: Final = 3600.0  # seconds for one database
_UNFINISHED: Final = re.compile(r"\..+\.[0-9a-f]{16}\.partial")
_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_appearing: Final = threading.Lock()  # between a directory's making and its lock, nobody clears up


def backup(actor: Asking, text: str) -> dict[str, Any]:
    """Each database into a file of a new directory, by its owner.

    It has its name when all of them are there, durable; where one fails, nothing is left of it.

    Raises:
        InvalidArgumentError: its place is not a directory that exists.
        AlreadyExistsError: something is there already.
        FullError: no room.
        RemoteError: as an owner answers.
    """
    directory = Path(text)
    if not directory.is_absolute() or not directory.parent.is_dir():
        raise InvalidArgumentError(f"backup {text[:200]!a} is not in a directory that exists: make it first")
    _refuse_existing(directory)
    with reported(f"make backup {directory}", directory.parent):
        with _unfinished(directory) as fresh:
            names = _copied_to(actor, fresh)
            _refuse_existing(directory)
            fresh.rename(directory)
        sync_directory(directory.parent)
        sizes = [(name, (directory / name).stat().st_size) for name in names]
    return {"directory": str(directory), "files": [{"name": name, "size": size} for name, size in sizes]}


@contextmanager
def _unfinished(directory: Path) -> Iterator[Path]:
    """An empty directory beside it, locked; what is not renamed by the end of the block is removed."""
    fresh = directory.with_name(f".{directory.name[:200]}.{secrets.token_hex(8)}.partial")
    with _appearing:
        _clear(directory.parent)
        fresh.mkdir(mode=0o700)
        lock = os.open(fresh, _OPEN)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield fresh
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    finally:
        os.close(lock)


def _clear(place: Path) -> None:
    """Remove what dead makers of backups have left; it is in nobody's way, so failures are not told."""
    for path in place.iterdir():
        if _UNFINISHED.fullmatch(path.name):
            with suppress(OSError):
                _remove_unlocked(path)


def _remove_unlocked(path: Path) -> None:
    """Raises OSError: it is another's, is no directory, or somebody is writing it."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return
    lock = os.open(path, _OPEN)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
    finally:
        os.close(lock)


def _copied_to(actor: Asking, directory: Path) -> tuple[str, ...]:
    actor.call(m.MetadataBackup(str(directory / "metadata.db")), limit=COPY_LIMIT)
    snapshots = actor.call(m.SnapshotsBackup(str(directory)), limit=COPY_LIMIT)["names"]
    actor.call(m.NetworkBackup(str(directory / "networks.db")), limit=COPY_LIMIT)
    actor.call(m.EventsBackup(str(directory / "events.db")), limit=COPY_LIMIT)
    return ("metadata.db", *snapshots, "networks.db", "events.db")


def _refuse_existing(directory: Path) -> None:
    if directory.exists() or directory.is_symlink():
        raise AlreadyExistsError(f"backup {directory} exists already: choose another name")
