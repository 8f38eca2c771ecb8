"""Garbage collection and the upkeep of the stores as a whole: collector."""

from dataclasses import dataclass

from actors.messages.declare import Number, operation


@operation("collector.note", "collector", repeatable=True)
@dataclass(frozen=True, slots=True)
class CollectorNote:
    """Said by metadata: what has changed or gone since the last note, and when something else will."""

    mutations: Number = 0
    deletions: Number = 0
    next_expiry: Number | None = None


@operation("gc.run", "collector", repeatable=True)
@dataclass(frozen=True, slots=True)
class GcRun:
    """Collect now. Answer: leases, images, contents, snapshots, blobs, bytes, ingests that went; seconds."""


@operation("system.df", "collector", repeatable=True)
@dataclass(frozen=True, slots=True)
class SystemDf:
    """What takes how much space. Answer: `rows`, each with kind, count, active, size, reclaimable."""


@operation("system.prune", "collector", repeatable=True)
@dataclass(frozen=True, slots=True)
class SystemPrune:
    """Remove what is not used, then collect. Answer: `removed` (kind and name), and as `gc.run`.

    Attributes:
        namespace: an empty one means every one.
        images: names that no container uses, too.
        containers: those that have exited, too.
    """

    namespace: str = ""
    images: bool = False
    containers: bool = False


@operation("system.check", "collector", repeatable=True)
@dataclass(frozen=True, slots=True)
class SystemCheck:
    """Compare records, blobs and directories. Answer: `problems`, each with kind, what and repair.

    Attributes:
        limit: bytes of blobs to read at most, 0 for all.
    """

    limit: Number = 0


@operation("system.repair", "collector", repeatable=True)
@dataclass(frozen=True, slots=True)
class SystemRepair:
    """Check, and put right what can be. Answer: `actions` (kind, what, done) and `problems` that are left."""

    limit: Number = 0


@operation("system.backup", "collector", repeatable=True)
@dataclass(frozen=True, slots=True)
class SystemBackup:
    """Write consistent copies of the databases into a new directory. Answer: `files`, with name and size."""

    directory: str
