"""Named volumes: directories that outlive containers, each with a durable record beside its content.

    NAMESPACE/NAME/volume.json   the record
    NAMESPACE/NAME/data/         the content
    NAMESPACE/NAME/seed-ID/      what container ID copies from its image, until it takes the place of data

A volume is made under another name and then renamed, so that it is there as a whole or not at all. It goes
the same way: renamed first, and deleted when its owner has time for that; `discarded` names what is to be.
"""

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from storage.content.disk import reported
from storage.durable import sync_directory, sync_names
from storage.errors import NotFoundError, StorageError
from storage.names import check_identifier, encode_labels
from storage.paging import PAGE_BYTES, PAGE_ROWS

RECORD, DATA = "volume.json", "data"
_PASSING = "."  # begins the name of what is being made or deleted: no identifier begins so
_GONE, _NEW = f"{_PASSING}gone-", f"{_PASSING}new-"


@dataclass(frozen=True, slots=True)
class Volume:
    """One volume.

    Attributes:
        owner: the container that it belongs to and goes with; empty for a volume of its own.
        settled: its first content is in place; before, a container may fill it from its image.
        created_at: in nanoseconds since the epoch.
    """

    namespace: str
    name: str
    labels: Mapping[str, str]
    owner: str
    created_at: int
    settled: bool = False


class Volumes:
    """The volumes below one directory."""

    def __init__(self, root: Path) -> None:
        """Discard what a crash has left half made."""
        self._root = root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_names(root)
        for left in root.glob(f"*/{_NEW}*"):
            _discard(left, left.parent)

    def data(self, volume: Volume) -> Path:
        """Where its content is."""
        return self._path(volume.namespace, volume.name) / DATA

    def seed(self, volume: Volume, container: str) -> Path:
        """Where a container puts what is to become the first content."""
        check_identifier("container id", container)
        return self._path(volume.namespace, volume.name) / f"seed-{container}"

    def create(self, namespace: str, name: str, labels: Mapping[str, str], owner: str = "") -> Volume:
        """Make it, or find it made: then it stays as it is. Durable when this returns.

        Raises:
            InvalidArgumentError: the name is none: `..` and slashes never are.
            FullError: there is no room; nothing is left of it.
        """
        with contextlib.suppress(NotFoundError):
            return self.get(namespace, name)
        encode_labels(labels)
        volume = Volume(namespace, name, dict(labels), owner, time.time_ns())
        final = self._path(namespace, name)
        with reported(f'make volume "{name}"', self._root):
            self._appear(final, volume)
        return volume

    def _appear(self, final: Path, volume: Volume) -> None:
        fresh = final.with_name(f"{_NEW}{secrets.token_hex(8)}")
        try:
            (fresh / DATA).mkdir(mode=0o755, parents=True)
            self._write(fresh, volume)
            fresh.rename(final)
        except OSError:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        for directory in (final, final.parent, self._root):
            sync_directory(directory)

    def get(self, namespace: str, name: str) -> Volume:
        """Look one up.

        Raises:
            NotFoundError, InvalidArgumentError: there is none; it cannot be the name of one.
            StorageError: its record cannot be read.
        """
        return _read(self._path(namespace, name))

    def list(self, namespace: str) -> list[Volume]:
        """The volumes of a namespace, or of all for an empty one, by name.

        One whose record cannot be read is left out, so that it is in nobody's way.
        """
        return sorted(self._all(namespace or "*"), key=lambda volume: (volume.namespace, volume.name))

    def page(self, namespace: str, after: str) -> tuple[tuple[Volume, ...], str]:
        """Some of them, in the same order, and what to go on after; nothing where these are the last."""
        found: list[Volume] = []
        size, last = 0, after
        for place in sorted(_place(path) for path in self._directories(namespace or "*")):
            if place <= tuple(after.split(" ")):
                continue
            if size > PAGE_BYTES or len(found) == PAGE_ROWS:
                return tuple(found), last
            with contextlib.suppress(StorageError):
                found.append(_read(self._root.joinpath(*place)))
                size += sum(len(key) + len(value) for key, value in found[-1].labels.items())
            last = " ".join(place)
        return tuple(found), ""

    def _all(self, pattern: str) -> Iterator[Volume]:
        for path in self._directories(pattern):
            with contextlib.suppress(StorageError):
                yield _read(path)

    def _directories(self, pattern: str) -> Iterator[Path]:
        if pattern != "*":
            check_identifier("namespace", pattern)
        for record in self._root.glob(f"{pattern}/*/{RECORD}"):
            if not record.parent.name.startswith(_PASSING):
                yield record.parent

    def settle(self, volume: Volume, container: str) -> None:
        """Let what a container has put at its `seed` be the content, unless there is some already.

        So there is when another one was first, when a crash has come before the record of that, or when
        somebody has put it there by hand.
        """
        seed, data = self.seed(volume, container), self.data(volume)
        if not self.get(volume.namespace, volume.name).settled:
            with reported(f'settle volume "{volume.name}"', self._root):
                if seed.is_dir() and not any(data.iterdir()):
                    os.rename(seed, data)  # noqa: PTH104  # in place of the empty directory, at once
                self._write(data.parent, replace(volume, settled=True))
        if seed.is_dir():
            _discard(seed, data.parent.parent)

    def remove(self, namespace: str, name: str) -> None:
        """Remove it with all that is in it; one that is gone is no error.

        Durable when this returns. Its files are `discarded` then, as to delete them can take long.

        Raises:
            StorageError: something is mounted on its directory.
        """
        path = self._path(namespace, name)
        with reported(f'remove volume "{name}"', self._root):
            try:
                _discard(path, path.parent)
            except FileNotFoundError:
                return
            sync_directory(path.parent)

    def discarded(self) -> tuple[Path, ...]:
        """Directories that are to be deleted, in any thread."""
        return tuple(sorted(self._root.glob(f"*/{_GONE}*")))

    def _path(self, namespace: str, name: str) -> Path:
        check_identifier("namespace", namespace)
        check_identifier("volume name", name)
        return self._root / namespace / name

    @staticmethod
    def _write(directory: Path, volume: Volume) -> None:
        temporary = directory / f"{RECORD}.new"
        with temporary.open("w") as file:
            json.dump(asdict(volume), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(directory / RECORD)
        sync_directory(directory)


def _place(directory: Path) -> tuple[str, ...]:
    """Namespace and name."""
    return directory.parts[-2:]


def _read(directory: Path) -> Volume:
    namespace, name = _place(directory)
    try:
        return Volume(**json.loads((directory / RECORD).read_bytes()))
    except FileNotFoundError:
        raise NotFoundError(f'volume "{name}" not found in namespace "{namespace}"') from None
    except (OSError, ValueError, TypeError) as error:
        text = f'the record of volume "{name}" of namespace "{namespace}" cannot be read: {error}'
        raise StorageError(text) from error


def _discard(path: Path, namespace: Path) -> None:
    path.rename(namespace / f"{_GONE}{secrets.token_hex(8)}")
