"""What a container in a user namespace needs of the host's file systems: a way to its root, files it may own.

Its root is nobody on the host. So the directories above its root let others through (and nothing but
through), and volumes, whose files belong to the ids that containers know, are shown to it with their owners
shifted: mounted at state/shifted, where nothing is ever removed but mount points and empty directories.
"""

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from actors.linux import mounts
from actors.linux.mount_values import Mount
from actors.runtime.errors import InvalidSpecError
from actors.runtime.id_ranges import IdRange

_THROUGH = stat.S_IXOTH


def open_way(bundle: Path, ids: IdRange) -> None:
    """Let the container's root through to its bundle, and nobody else into it.

    Raises:
        InvalidSpecError: a directory above the daemon's own lets nobody through.
    """
    containers = bundle.parents[1]
    for directory in (containers, bundle.parent):
        directory.chmod(0o711)
    os.chown(bundle, 0, ids.gid)
    bundle.chmod(0o710)
    for directory in containers.parents:
        if not directory.stat().st_mode & _THROUGH:
            raise InvalidSpecError(
                f"userns: the container's root is nobody on the host and cannot pass {directory}: "
                f"chmod o+x {directory}, or keep the daemon's state elsewhere"
            )


def show(bundle: Path, sources: Mapping[str, str], ids: IdRange) -> dict[str, str]:
    """The host's paths of the same files with shifted owners, by the same keys.

    Raises:
        InvalidSpecError: a file system cannot do that.
    """
    directory = _directory(bundle)
    hide(bundle)
    directory.mkdir(mode=0o700, parents=True)
    places = {}
    for number, (key, source) in enumerate(sources.items()):
        place = directory / str(number)
        if Path(source).is_dir():
            place.mkdir()
        else:
            place.touch()
        _mount(source, place, ids)
        places[key] = str(place)
    return places


def _mount(source: str, place: Path, ids: IdRange) -> None:
    try:
        mounts.mount_one(Mount("bind", source, ("bind", "rw", *ids.shift.options)), str(place))
    except OSError as error:
        raise InvalidSpecError(
            f"userns: owners of {source} cannot be shown shifted ({(error.strerror or str(error)).lower()}): "
            "its file system has no idmapped mounts"
        ) from error


def hide(bundle: Path) -> None:
    """Unmount them. Nothing there is fine; a directory that is not empty then stays, and is not emptied."""
    directory = _directory(bundle)
    if directory.exists():
        mounts.umount_within(str(directory))
        for place in _entries(directory):
            place.rmdir() if place.is_dir() else place.unlink()
        directory.rmdir()


def _entries(directory: Path) -> Iterable[Path]:
    return sorted(directory.iterdir())


def _directory(bundle: Path) -> Path:
    return bundle.parents[2] / "shifted" / f"{bundle.parent.name}+{bundle.name}"
