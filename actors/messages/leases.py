"""Leases, what namespaces know of content, and what nothing leads to any more: metadata."""

from dataclasses import dataclass, field

from actors.messages.declare import Labels, Number, operation


@dataclass(frozen=True, slots=True)
class LeaseResource:
    """What a lease holds: `type` is content, ingests, images or snapshots/SNAPSHOTTER."""

    type: str
    id: str


@dataclass(frozen=True, slots=True)
class SnapshotNode:
    """A snapshot as collection sees it; of its labels, those that concern it."""

    namespace: str
    snapshotter: str
    key: str
    parent: str = ""
    labels: Labels = field(default_factory=dict)


@operation("leases.create", "metadata")
@dataclass(frozen=True, slots=True)
class LeasesCreate:
    """Make a lease that holds nothing yet; an empty id lets metadata choose. Answer: the lease.

    It expires at the time in its label `containerd.io/gc.expire`. With `containerd.io/gc.flat`, what it
    holds is kept, but not what that refers to.
    """

    namespace: str
    id: str = ""
    labels: Labels = field(default_factory=dict)


@operation("leases.list", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class LeasesList:
    """Answer: `leases`, each with namespace, id, labels, created_at, expires_at (or null), and its holder.

    With `page`: as many as a message holds, and `next`, to be asked for as `after`; empty with the last.

    Attributes:
        namespace: an empty one means every one.
        filters: see docs/protocol.md, "Filters"; fields are id and labels.
    """

    namespace: str = ""
    filters: list[str] = field(default_factory=list)
    page: bool = False
    after: str = ""


@operation("leases.delete", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class LeasesDelete:
    """Delete a lease; one that is gone is no error. With `sync`, answered when what it held is gone too.

    Attributes:
        strict: one that is gone is an error; not repeatable.
    """

    namespace: str
    id: str
    sync: bool = False
    strict: bool = False


@operation("leases.add_resource", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class LeasesAddResource:
    """Let a lease hold resources, whether they exist yet or not: hold first, then look."""

    namespace: str
    id: str
    resources: list[LeaseResource]


@operation("leases.delete_resource", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class LeasesDeleteResource:
    """Let a lease hold a resource no longer."""

    namespace: str
    id: str
    resource: LeaseResource


@operation("leases.list_resources", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class LeasesListResources:
    """Answer: `resources`, each with type and id."""

    namespace: str
    id: str


@operation("leases.take", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class LeasesTake:
    """Make the lease of an actor, or hand it on to that actor's next incarnation. Said by that actor."""

    namespace: str
    id: str
    holder: str
    instance: str
    incarnation: Number


@operation("leases.release", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class LeasesRelease:
    """Delete the leases that an actor had up to that incarnation: said by it, or by the supervisor.

    What an interrupted actor held is nobody's from now on. It does not make the collector run at once,
    so that whoever tries again soon can go on from there; the next run, whatever made it due, takes it.

    Attributes:
        finished: its work was done: all that it has made has a name by now.
        resumable: it went down with the whole daemon, and nobody could try again since: what it held stays
            for some minutes, whoever collects meanwhile. The same work taken up again takes it over.
    """

    holder: str
    instance: str
    incarnation: Number
    finished: bool = False
    resumable: bool = False


@operation("contents.admit", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentsAdmit:
    """Said by content when a blob or ingest is opened: have the lease hold it. Answer: `known`.

    Attributes:
        present: the blob is in the store; the namespace gets to know it if it may share what others have.
    """

    namespace: str
    ref: str
    digest: str = ""
    lease: str = ""
    present: bool = False
    isolated: bool = False


@operation("contents.put", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentsPut:
    """Said by content when a blob is durable: the namespace knows it, with these labels added. Answer: it."""

    namespace: str
    digest: str
    labels: Labels = field(default_factory=dict)
    ref: str = ""
    lease: str = ""


@operation("contents.get", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentsGet:
    """What a namespace has on record of a blob: labels, created_at, updated_at."""

    namespace: str
    digest: str


@operation("contents.update", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentsUpdate:
    """Replace the labels of a blob, or with `fields` some of them (`labels.KEY`). Answer: as contents.get."""

    namespace: str
    digest: str
    labels: Labels = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)


@operation("contents.merge", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentsMerge:
    """Add labels to several blobs at once, by digest; an empty value takes a label away.

    Blobs that the namespace does not know it gets to know, if it may share them; the lease holds them all.
    """

    namespace: str
    labels: dict[str, Labels]
    lease: str = ""


@operation("contents.list", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentsList:
    """Answer: `contents`, with namespace, digest, labels, times. An empty namespace means every one.

    With `page`: as many as a message holds, and `next`, to be asked for as `after`; empty with the last.
    """

    namespace: str = ""
    page: bool = False
    after: str = ""


@operation("contents.forget", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentsForget:
    """Said by content or grpc: this namespace, or with an empty one nobody, knows the blob any more.

    Attributes:
        strict: one that it does not know is an error; not repeatable.
    """

    namespace: str
    digest: str
    strict: bool = False


@operation("contents.unheld", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentsUnheld:
    """Said by content before it deletes. Answer: those `digests` and `ingests` that nobody knows or holds."""

    digests: list[str]
    ingests: list[str] = field(default_factory=list)


@operation("collection.sweep", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class CollectionSweep:
    """Said by the collector: forget what nothing leads to.

    Answer: how many `leases` and `contents`, which `images`, the `snapshots` that nothing leads to, and
    `next_expiry` of a lease.
    """

    snapshots: list[SnapshotNode]


@operation("collection.unreached", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class CollectionUnreached:
    """Said by snapshots before it deletes. Answer: those `snapshots` that nothing leads to now."""

    snapshots: list[SnapshotNode]


@operation("metadata.check", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class MetadataCheck:
    """Answer: `problems` of the database."""


@operation("metadata.backup", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class MetadataBackup:
    """Write a consistent copy of the database to an absolute path."""

    path: str
