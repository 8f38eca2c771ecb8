"""What every snapshotter promises.

Life-cycle of a snapshot:

    prepare(key, parent) -> active --commit(name, key)--> committed name, may be a parent
    view(key, parent)    -> view, read-only, never committed

An active snapshot can be written through its mounts. It cannot be a parent, and nothing of it is visible
under any name, until commit. Commit takes the key away: afterwards the snapshot has only its name, never
changes again, and is durable. Keys and names share one set per namespace. A snapshot that has children
cannot be removed.

A snapshotter mounts nothing: it returns mounts, and whoever needs the files performs them. It has one
writer, the snapshots actor. A crash at any point leaves each operation done or not done; what it leaves on
the disk beside the records is deleted by `cleanup`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

Kind = Literal["active", "committed", "view"]


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount to perform, in the terms of mount(8).

    With a `base`, the paths in `options` are relative to it, and the mounter changes into it before the
    call: the options of a mount are limited to a page, too little for the absolute paths of 128 layers.
    """

    type: str
    source: str
    options: tuple[str, ...]
    target: str = ""
    base: str = ""

    def absolute(self) -> "Mount":
        """The same mount with absolute paths, for clients that mount by themselves and know no base."""
        if not self.base:
            return self
        options = tuple(_absolute(option, self.base) for option in self.options)
        return Mount(self.type, self.source, options, self.target)


def _absolute(option: str, base: str) -> str:
    name, equals, value = option.partition("=")
    if name not in {"lowerdir", "upperdir", "workdir"}:
        return option
    return name + equals + ":".join(f"{base}/{path}" for path in value.split(":"))


@dataclass(frozen=True, slots=True)
class Usage:
    """What a snapshot takes itself, its parents not counted: inodes, and bytes on the disk."""

    inodes: int
    size: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The record of a snapshot; `key` is the name once it is committed. Times in nanoseconds."""

    namespace: str
    key: str
    parent: str
    kind: Kind
    labels: Mapping[str, str] = field(hash=False)
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files of an active snapshot or a view are.

    Attributes:
        mounts: how to mount them.
        upper: the directory that changes go to, so that a layer is applied without a mount; None of a view.
        lowers: the directories below it, nearest first; none when the snapshotter is not `stacked`.
    """

    mounts: tuple[Mount, ...]
    upper: Path | None
    lowers: tuple[Path, ...]


class Snapshotter(Protocol):
    """The interface; all keys, names and parents are those of the namespace given."""

    @property
    def name(self) -> str:
        """The name by which clients choose it, such as "overlayfs"."""

    @property
    def stacked(self) -> bool:
        """Whether `upper` holds only what differs from the parents.

        Then a removed file is a character device 0/0 in it and an opaque directory has the overlay xattr.
        Otherwise `upper` holds the whole tree and removed files are simply not there.
        """

    def prepare(
        self, namespace: str, key: str, parent: str = "", labels: Mapping[str, str] | None = None
    ) -> tuple[Mount, ...]:
        """Make an active snapshot on a committed parent, or an empty one; how to mount it.

        Two labels ask for its owners to be shown shifted: see `ids`.

        Raises:
            AlreadyExistsError: the key is taken.
            NotFoundError: the parent does not exist.
            InvalidArgumentError: the parent is not committed, or key or labels are malformed.
            UnavailableError: the disk is full.
        """

    def view(
        self, namespace: str, key: str, parent: str = "", labels: Mapping[str, str] | None = None
    ) -> tuple[Mount, ...]:
        """Make a read-only view of a committed parent; how to mount it. Errors as in `prepare`."""

    def place(self, namespace: str, key: str) -> Place:
        """Where an active snapshot or a view is; the same each time.

        Raises:
            NotFoundError: the key does not exist.
            FailedPreconditionError: it is committed; prepare or view on it.
        """

    def mounts(self, namespace: str, key: str) -> tuple[Mount, ...]:
        """How to mount it. Errors as in `place`."""

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
        """Turn an active snapshot into the committed `name`; its files and record are durable on return.

        Labels `containerd.io/snapshot/*` and `containerd.io/snapshot.ref` of the active one stay unless
        replaced; its other labels end with it. `usage` saves a scan when the caller knows it. With a
        `parent`, a snapshot that was prepared on none is put on that one, if the snapshotter is `stacked`:
        so layers are unpacked before those below them. With `synced` its files are durable already.

        Raises:
            NotFoundError: the key does not exist.
            AlreadyExistsError: the name is taken.
            FailedPreconditionError: it is not active, its owners are shifted, or it is on another parent.
            InvalidArgumentError: the parent is not committed.
        """

    def remove(self, namespace: str, key: str) -> None:
        """Remove a snapshot of any kind. Its files stay until the next `cleanup`, since that can take long.

        Raises:
            NotFoundError: the key does not exist.
            FailedPreconditionError: it has children; the text names them.
        """

    def stat(self, namespace: str, key: str) -> Snapshot:
        """The record of a snapshot.

        Raises:
            NotFoundError: the key does not exist.
        """

    def update(
        self, namespace: str, key: str, labels: Mapping[str, str], fields: Sequence[str] = ()
    ) -> Snapshot:
        """Replace all labels, or those that the mask `fields` names (`labels.KEY`); nothing else can change.

        Raises:
            NotFoundError: the key does not exist.
            InvalidArgumentError: the mask names something else.
            FailedPreconditionError: it would change the map of owners.
        """

    def list(self, namespace: str | None = None) -> tuple[Snapshot, ...]:
        """The snapshots of a namespace, or of all; parents before children."""

    def page(self, namespace: str | None, after: int) -> tuple[tuple[Snapshot, ...], int]:
        """Some of them, in the order of their making, from 0, and what to go on after; 0 with the last."""

    def usage(self, namespace: str, key: str) -> Usage:
        """What the snapshot takes: as of its commit, or scanned now if active."""

    def measuring(self, namespace: str, key: str) -> Callable[[], Usage]:
        """What gives the same, in any thread: to scan millions of files takes minutes.

        Raises:
            NotFoundError: the key does not exist. What is returned raises UnavailableError where it has gone
                since.
        """

    def layers(self, namespace: str, key: str) -> tuple[Path, ...]:
        """What a snapshot on the committed `key` has below it: its own directory first, then the parents'.

        Raises:
            NotFoundError: the key does not exist.
            FailedPreconditionError: it is not committed.
        """

    def discard(self, *, every: bool = True) -> tuple[Path, ...]:
        """Set aside every directory that no record names, and list all that wait for deletion.

        Without `every`, those that this object itself has left without one since it looked last: that takes
        no longer where there are many snapshots.
        Quick. Each path returned may be given to `trees.delete_tree`, in another thread or process too, but
        by one at a time.
        """

    def cleanup(self) -> int:
        """Delete all that `discard` lists; how many directories that were.

        Raises:
            UnavailableError: one could not be deleted (still mounted?); the others were.
        """

    def check(self) -> tuple[str, ...]:
        """What is wrong with the records, one line per problem; empty when they are sound."""

    def orphans(self) -> tuple[Path, ...]:
        """Directories that no record names: `cleanup` deletes them."""

    def forget_lost(self) -> tuple[tuple[str, str], ...]:
        """Delete the records of layers whose files are lost, and of layers on top; these are unpacked again.

        Namespace and key of each. Where a container writes on top, the records stay.
        """

    def backup(self, target: Path) -> None:
        """Write a consistent, durable copy of the records while in use."""

    def close(self) -> None:
        """Close the records."""
