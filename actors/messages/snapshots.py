"""Layers and the roots of containers: snapshots.

Each has a field `snapshotter`: `overlayfs`, `native`, or empty for the daemon's own choice.
"""

from dataclasses import dataclass, field

from actors.messages.declare import Labels, Number, SnapshotterName, operation
from actors.messages.leases import SnapshotNode


@operation("snapshots.prepare", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsPrepare:
    """Make a writable snapshot `key` on top of the committed `parent`.

    Answer: `mounts`; `upper`, where its files are, and `lowers`, the directories below; `stacked`, whether
    the upper holds only what differs from them.

    Attributes:
        labels: `containerd.io/snapshot/uidmapping` and `.../gidmapping` shift owners: `0:100000:65536`.
    """

    namespace: str
    key: str
    parent: str = ""
    labels: Labels = field(default_factory=dict)
    snapshotter: SnapshotterName = ""
    lease: str = ""


@operation("snapshots.view", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsView:
    """Make a read-only view `key` of the committed `parent`. Answer: mounts. Labels as in prepare."""

    namespace: str
    key: str
    parent: str = ""
    labels: Labels = field(default_factory=dict)
    snapshotter: SnapshotterName = ""
    lease: str = ""


@operation("snapshots.create", "snapshots")
@dataclass(frozen=True, slots=True)
class SnapshotsCreate(SnapshotsPrepare):
    """As prepare, or with `view` as that; a key that there is already is refused, whatever it is of."""

    view: bool = False


@operation("snapshots.mounts", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsMounts:
    """Answer: mounts of the active snapshot or view `key`; for an active one also upper and lowers."""

    namespace: str
    key: str
    snapshotter: SnapshotterName = ""


@operation("snapshots.commit", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsCommit:
    """Make the active snapshot `key` the committed one `name`; if `name` exists, `key` is dropped.

    Answer: `files`, the directory of what is committed now.

    Attributes:
        labels: of the committed one, beside those named `containerd.io/snapshot/...` that it inherits.
        parent: puts a snapshot that was prepared on none on this one; overlayfs only.
        synced: its files are on the disk already, by a syncfs after the last of them was written. Else they
            are written out now, while others wait.
        inodes: how many it has, where the caller has counted them and their bytes on the disk; else that is
            done now.
        size: those bytes.
        strict: a `name` that exists is an error, and so is a `key` that is gone; not repeatable.
    """

    namespace: str
    key: str
    name: str
    labels: Labels = field(default_factory=dict)
    parent: str = ""
    snapshotter: SnapshotterName = ""
    lease: str = ""
    synced: bool = False
    inodes: Number = 0
    size: Number = 0
    strict: bool = False


@operation("snapshots.stat", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsStat:
    """Answer: key, parent, kind, labels, created_at, updated_at."""

    namespace: str
    key: str
    snapshotter: SnapshotterName = ""


@operation("snapshots.update", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsUpdate:
    """Change labels. Answer: as of `snapshots.stat`.

    Attributes:
        fields: `labels`, or `labels.KEY` for each label to set or, if it is not given, to remove; empty: all.
    """

    namespace: str
    key: str
    labels: Labels = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)
    snapshotter: SnapshotterName = ""


@operation("snapshots.list", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsList:
    """Answer: `snapshots`, each as `snapshots.stat` gives it, parents before children.

    With `page`: in the order of their making, as many as a message holds, and `next`, to be asked for as
    `after`; empty with the last.
    """

    namespace: str
    snapshotter: SnapshotterName = ""
    page: bool = False
    after: str = ""


@operation("snapshots.usage", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsUsage:
    """Answer: `inodes` and `size`, what the snapshot takes on the disk, its parents not counted."""

    namespace: str
    key: str
    snapshotter: SnapshotterName = ""


@operation("snapshots.layers", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsLayers:
    """Answer: `layers`, the directories of the committed snapshot `key` and its parents, nearest first."""

    namespace: str
    key: str
    snapshotter: SnapshotterName = ""


@operation("snapshots.remove", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsRemove:
    """Remove a snapshot. One that is gone is no error; one with children is refused.

    Attributes:
        strict: one that is gone is an error; not repeatable.
    """

    namespace: str
    key: str
    snapshotter: SnapshotterName = ""
    strict: bool = False


@operation("snapshots.cleanup", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsCleanup:
    """Answered when the files of every snapshot removed before are deleted; every removal begins that too."""

    snapshotter: SnapshotterName = ""


@operation("snapshots.graph", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsGraph:
    """Said by the collector. Answer: all `snapshots`, with namespace, snapshotter, key, parent, labels.

    Refused where they are more than a message has room for: some 70,000 layers.
    """


@operation("snapshots.sweep", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsSweep:
    """Said by the collector: remove those that nothing leads to even now. Answer: how many `snapshots`."""

    snapshots: list[SnapshotNode]


@operation("snapshots.usages", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsUsages:
    """Answer: `usages` of all, each with snapshotter, namespace, key, kind, inodes, size.

    Attributes:
        recorded: only of committed ones, whose size is on record: nothing is measured.
    """

    recorded: bool = False


@operation("snapshots.check", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsCheck:
    """Compare records and directories. Answer: `problems`, and `orphans`: directories without a record."""


@operation("snapshots.repair", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsRepair:
    """Delete orphans, and the records of snapshots whose files are lost. Answer: `removed` records."""


@operation("snapshots.backup", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsBackup:
    """Write a consistent copy of the records of each snapshotter that is in use into an absolute directory.

    Answer: `names`, of the copies: `snapshots.db` (overlayfs) and `snapshots-native.db`.
    """

    directory: str
