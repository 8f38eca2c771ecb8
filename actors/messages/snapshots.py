"""Layers and the roots of containers: snapshots."""

from dataclasses import dataclass, field

from actors.messages.declare import Labels, operation


@operation("snapshots.prepare", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsPrepare:
    """Make a writable snapshot `key` on top of the committed `parent`. Answer: mounts, upper, lowers."""

    namespace: str
    key: str
    parent: str = ""
    labels: Labels = field(default_factory=dict)


@operation("snapshots.mounts", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsMounts:
    """Answer: mounts, upper and lowers of the active snapshot `key`."""

    namespace: str
    key: str


@operation("snapshots.commit", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsCommit:
    """Make the active snapshot `key` the committed one `name`; if `name` exists, `key` is dropped."""

    namespace: str
    key: str
    name: str


@operation("snapshots.stat", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsStat:
    """Answer: key, parent, kind, labels, created_at, updated_at."""

    namespace: str
    key: str


@operation("snapshots.list", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsList:
    """Answer: `snapshots`, each as `snapshots.stat` gives it."""

    namespace: str


@operation("snapshots.remove", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsRemove:
    """Remove a snapshot. One that is gone is no error; one with children is refused."""

    namespace: str
    key: str
