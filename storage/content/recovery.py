"""What a start-up makes of the ingests that a crash left: whole ones stay, remains go.

Remains that a failing disk left go with the next collection too.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from storage.content import ingest as ingests
from storage.errors import NotFoundError, StorageError


@dataclass(frozen=True, slots=True)
class Recovery:
    """Refs of the ingests that can be resumed, and how many remains were removed."""

    resumable: tuple[str, ...]
    removed: int


def recover(directory: Path) -> Recovery:
    """Clean the directory of the ingests, whoever was killed at whatever step.

    Names with a dot are ingests that never appeared or had disappeared already. An ingest without data
    has become a blob; it goes too, unless it says so. Running it twice is the same as once.
    """
    refs = [_recover_entry(entry) for entry in list(directory.iterdir())]
    return Recovery(tuple(sorted(ref for ref in refs if ref is not None)), refs.count(None))


def clear_remains(directory: Path) -> None:
    """Remove what could not be removed when it disappeared; what still cannot stays for the next time.

    For the owner between two calls: only they make such names, and none outlasts a call otherwise.
    """
    for entry in directory.glob(".*"):
        shutil.rmtree(entry, ignore_errors=True)


def _recover_entry(entry: Path) -> str | None:
    """The ref of a whole ingest, without its seal; None, and nothing left, for anything else."""
    try:
        ref = ingests.status(entry).ref
        if ingests.directory_name(ref) != entry.name:
            raise NotFoundError(f"{entry.name} is no ingest")
    except StorageError:
        _remove(entry)
        return None
    (entry / ingests.SEAL).unlink(missing_ok=True)
    return ref


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()
