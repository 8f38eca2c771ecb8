"""What the overlay and the native snapshotter share: one directory per record.

    ROOT/metadata.db         the records
    ROOT/snapshots/ID/fs     the files of snapshot ID (and whatever its kind adds beside)
    ROOT/trash/NAME          directories on their way out

One rule makes every crash recoverable: a directory is made before its record is committed and deleted only
after its record is gone. So each record has its directory, and a directory without a record is rubbish,
which `cleanup` deletes. Removing is dropping the record. Committing changes the record alone.

Against a power cut, `commit` writes all files out before its record. What was written to an active
snapshot and not synchronised is lost, as on any file system; should even its directory be lost, opening
makes it again, empty.
"""

import abc
import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from storage.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from storage.room import FULL, no_room
from storage.snapshotters.contract import Kind, Mount, Place, Snapshot, Usage
from storage.snapshotters.ids import GIDS, UIDS, Shift, shift_of
from storage.snapshotters.records import Record, Records
from storage.snapshotters.trees import delete_tree, measure

_INHERITED_PREFIX = "containerd.io/snapshot/"
_INHERITED = "containerd.io/snapshot.ref"


def sync_everything(_path: Path) -> None:
    """Write out every file system. A daemon passes syncfs(2) on `_path` instead, which Python lacks."""
    os.sync()


class DirectorySnapshotter(abc.ABC):
    """Records and directories; a subclass fills directories and describes mounts.

    `sync` makes all files of the file system that holds a path durable. A `reader` only looks, in a process
    that does not own them; see `Database`.
    """

    def __init__(
        self,
        root: Path,
        *,
        sync: Callable[[Path], None] = sync_everything,
        clock: Callable[[], int] = time.time_ns,
        reader: bool = False,
    ) -> None:
        self._snapshots = root / "snapshots"
        self._trash = root / "trash"
        self._sync = sync
        self._dropped: set[int] = set()  # whose record has gone, or never came to be
        if reader:
            self._records = Records(root / "metadata.db", clock, reader=True)
            return
        for directory in (root, self._snapshots, self._trash):
            # Closed to others: images bring set-uid programs, which no local user may reach by path.
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._records = Records(root / "metadata.db", clock)
        self._repair()

    name: ClassVar[str]

    @abc.abstractmethod
    def _fill(self, directory: Path, kind: Kind, parents: tuple[int, ...], shift: Shift) -> None:
        """Make what a new snapshot begins with inside its existing empty directory."""

    @abc.abstractmethod
    def _mounts(self, record: Record, parents: tuple[int, ...]) -> tuple[Mount, ...]:
        """How to mount an active snapshot or a view."""

    @property
    @abc.abstractmethod
    def stacked(self) -> bool:
        """See `Snapshotter.stacked`."""

    def prepare(
        self, namespace: str, key: str, parent: str = "", labels: Mapping[str, str] | None = None
    ) -> tuple[Mount, ...]:
        """See `Snapshotter.prepare`."""
        return self._create(namespace, key, parent, "active", labels)

    def view(
        self, namespace: str, key: str, parent: str = "", labels: Mapping[str, str] | None = None
    ) -> tuple[Mount, ...]:
        """See `Snapshotter.view`."""
        return self._create(namespace, key, parent, "view", labels)

    def _create(
        self, namespace: str, key: str, parent: str, kind: Kind, labels: Mapping[str, str] | None
    ) -> tuple[Mount, ...]:
        with self._records.database.transaction(), _disk_errors(key, self._snapshots):
            record = self._records.insert(namespace, key, parent, kind, labels)
            parents = self._records.chain(record.id)
            mounts = self._mounts(record, parents)
            self._dropped.add(record.id)  # should it come to nothing
            self._make_directory(record.id, kind, parents, shift_of(record.snapshot.labels))
        self._dropped.discard(record.id)
        return mounts

    def _make_directory(self, identity: int, kind: Kind, parents: tuple[int, ...], shift: Shift) -> None:
        directory = self._directory(identity)
        # A rolled-back prepare gives its id free and may have left its directory.
        if os.path.lexists(directory):
            self._set_aside(directory)
        directory.mkdir(mode=0o700)
        self._fill(directory, kind, parents, shift)

    def place(self, namespace: str, key: str) -> Place:
        """See `Snapshotter.place`."""
        record = self._records.get(namespace, key)
        if record.snapshot.kind == "committed":
            raise FailedPreconditionError(
                f'snapshot "{key}" is committed: prepare or view a snapshot on it and mount that'
            )
        parents = self._records.chain(record.id)
        upper = self._directory(record.id) / "fs" if record.snapshot.kind == "active" else None
        return Place(self._mounts(record, parents), upper, self._below(parents))

    def mounts(self, namespace: str, key: str) -> tuple[Mount, ...]:
        """See `Snapshotter.mounts`."""
        return self.place(namespace, key).mounts

    def commit(
        self,
        namespace: str,
        name: str,
        key: str,
        labels: Mapping[str, str] | None = None,
        *,
        usage: Usage | None = None,
        parent: str = "",
        synced: bool = False,
    ) -> None:
        """See `Snapshotter.commit`."""
        with self._records.database.transaction(), _disk_errors(key, self._snapshots):
            record = self._active(namespace, key)
            if shift_of(record.snapshot.labels):
                raise FailedPreconditionError(
                    f'snapshot "{key}" has shifted owners: it cannot be a layer, prepare one without a map'
                )
            if parent:
                self._rebase(record, parent)
            files = self._directory(record.id) / "fs"
            kept = {**inherited(record.snapshot.labels), **(labels or {})}
            self._records.commit(record, name, kept, usage or measure(files))
            if not synced:
                self._sync(files)

    def _rebase(self, record: Record, parent: str) -> None:
        """Put a snapshot that was prepared without a parent on one."""
        known = record.snapshot.parent
        if known != parent and (known or not self.stacked):
            why = f'is on "{known}"' if known else "holds a whole tree"
            raise FailedPreconditionError(
                f'snapshot "{record.snapshot.key}" {why}: it cannot be put on "{parent}", prepare it there'
            )
        self._records.rebase(record, parent)

    def remove(self, namespace: str, key: str) -> None:
        """See `Snapshotter.remove`."""
        with self._records.database.transaction():
            record = self._records.get(namespace, key)
            self._records.delete(record)
            self._dropped.add(record.id)

    def stat(self, namespace: str, key: str) -> Snapshot:
        """See `Snapshotter.stat`."""
        return self._records.get(namespace, key).snapshot

    def update(
        self, namespace: str, key: str, labels: Mapping[str, str], fields: Sequence[str] = ()
    ) -> Snapshot:
        """See `Snapshotter.update`."""
        with self._records.database.transaction():
            record = self._records.get(namespace, key)
            new = masked(record.snapshot.labels, labels, fields)
            if shift_of(new) != shift_of(record.snapshot.labels):
                raise FailedPreconditionError(f'snapshot "{key}": its id map is fixed, prepare another one')
            self._records.update(record, new)
        return self.stat(namespace, key)

    def list(self, namespace: str | None = None) -> tuple[Snapshot, ...]:
        """See `Snapshotter.list`."""
        return self._records.list(namespace)

    def page(self, namespace: str | None, after: int) -> tuple[tuple[Snapshot, ...], int]:
        """See `Snapshotter.page`."""
        return self._records.page(namespace, after)

    def usage(self, namespace: str, key: str) -> Usage:
        """See `Snapshotter.usage`."""
        return self.measuring(namespace, key)()

    def measuring(self, namespace: str, key: str) -> Callable[[], Usage]:
        """See `Snapshotter.measuring`."""
        record = self._records.get(namespace, key)
        known, files = record.usage, self._directory(record.id) / "fs"

        def measured() -> Usage:
            with _disk_errors(key, self._snapshots):
                return known or measure(files)

        return measured

    def _below(self, parents: Iterable[int]) -> tuple[Path, ...]:
        return tuple(self._directory(identity) / "fs" for identity in parents) if self.stacked else ()

    def layers(self, namespace: str, key: str) -> tuple[Path, ...]:
        """See `Snapshotter.layers`."""
        record = self._records.get(namespace, key)
        if record.snapshot.kind != "committed":
            raise FailedPreconditionError(f'snapshot "{key}" is {record.snapshot.kind}, not committed')
        return (self._directory(record.id) / "fs", *self._below(self._records.chain(record.id)))

    def discard(self, *, every: bool = True) -> tuple[Path, ...]:
        """See `Snapshotter.discard`."""
        if self._records.database.in_transaction:
            raise FailedPreconditionError("no cleanup inside a transaction: its removals may be undone")
        for directory in self._unnamed() if every else self._unnamed_of_ours():
            self._set_aside(directory)
        self._dropped.clear()
        return tuple(sorted(self._trash.iterdir()))

    def _unnamed(self) -> tuple[Path, ...]:
        named = {str(identity) for identity in self._records.ids()}
        return tuple(one for one in self._snapshots.iterdir() if one.name not in named)

    def _unnamed_of_ours(self) -> tuple[Path, ...]:
        gone = (self._directory(one) for one in self._dropped if not self._records.has(one))
        return tuple(one for one in gone if os.path.lexists(one))

    def cleanup(self) -> int:
        """See `Snapshotter.cleanup`."""
        failures: list[OSError] = []
        paths = self.discard()
        for path in paths:
            try:
                delete_tree(path)
            except OSError as error:
                failures.append(error)
        if failures:
            raise UnavailableError(
                f"{len(failures)} of {len(paths)} removed snapshots could not be deleted ({failures[0]}): "
                "unmount what uses them, then try again"
            )
        return len(paths)

    def check(self) -> tuple[str, ...]:
        """What is wrong with the records, one line per problem; empty when they are sound."""
        missing = [
            f"snapshot {identity} ({kind}) has no directory"
            for identity, kind in self._records.ids().items()
            if not (self._directory(identity) / "fs").is_dir()
        ]
        return (*self._records.database.check(), *missing)

    def orphans(self) -> tuple[Path, ...]:
        """See `Snapshotter.orphans`."""
        return tuple(sorted([*self._unnamed(), *self._trash.iterdir()]))

    def forget_lost(self) -> tuple[tuple[str, str], ...]:
        """See `Snapshotter.forget_lost`."""
        with self._records.database.transaction():
            lost = [
                identity
                for identity in self._records.ids()
                if not (self._directory(identity) / "fs").is_dir()
            ]
            return self._records.delete_with_children(lost)

    def backup(self, target: Path) -> None:
        """See `Snapshotter.backup`."""
        self._records.database.backup(target)

    def close(self) -> None:
        """See `Snapshotter.close`."""
        self._records.database.close()

    def _active(self, namespace: str, key: str) -> Record:
        record = self._records.get(namespace, key)
        if record.snapshot.kind != "active":
            raise FailedPreconditionError(f'snapshot "{key}" is {record.snapshot.kind}, not active')
        return record

    def _directory(self, identity: int) -> Path:
        return self._snapshots / str(identity)

    def _set_aside(self, directory: Path) -> None:
        directory.rename(self._trash / f"{directory.name}-{secrets.token_hex(8)}")

    def _repair(self) -> None:
        # Only a power cut gets here: it can take a directory that was never synchronised.
        for identity, kind in self._records.ids().items():
            directory = self._directory(identity)
            if kind != "committed" and not (directory / "fs").is_dir():
                parents = self._records.chain(identity)
                self._make_directory(identity, kind, parents, shift_of(self._records.labels(identity)))


def inherited(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that an active snapshot leaves to the committed one (containerd's rule)."""
    return {
        key: value
        for key, value in labels.items()
        if key not in (UIDS, GIDS) and (key == _INHERITED or key.startswith(_INHERITED_PREFIX))
    }


def masked(old: Mapping[str, str], new: Mapping[str, str], fields: Sequence[str]) -> dict[str, str]:
    """`old` with what `fields` name taken from `new`: `labels`, or `labels.KEY`; without any, all of it.

    A label that `new` lacks, or has empty, is removed.

    Raises:
        InvalidArgumentError: a field is none of these.
    """
    given = {key: value for key, value in new.items() if value}
    result = dict(old) if fields else given
    for one in fields:
        table, _, key = one.partition(".")
        if table != "labels":
            raise InvalidArgumentError(f'field "{one}" of a snapshot cannot be updated: only labels can')
        if not key:
            result = dict(given)
        elif key in given:
            result[key] = given[key]
        else:
            result.pop(key, None)
    return result


@contextlib.contextmanager
def _disk_errors(key: str, place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise no_room(f'snapshot "{key}"', error, place) from error
        raise UnavailableError(f'snapshot "{key}": {error.strerror}: {error.filename}') from error
