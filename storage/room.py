"""A file system without room: said with its name, so that somebody can make some."""

import errno
from pathlib import Path
from typing import Final

from storage.errors import FullError

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def no_room(action: str, error: OSError, place: Path | None) -> FullError:
    """The error for an action that found no room at `place`; None where that is not ours to tell."""
    reason = (error.strerror or str(error)).lower()
    where = "" if place is None else f" on the file system at {mount_of(place)}, make room there"
    return FullError(f"{action}: {reason}{where}")


def mount_of(path: Path) -> Path:
    """Where the file system of a path, or of what there is of it, is mounted."""
    place = path.absolute()
    while not place.exists() or (place != place.parent and not place.is_mount()):
        place = place.parent
    return place
