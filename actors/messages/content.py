"""Blobs and ingests: content.

A namespace sees the blobs that it knows: what was written or opened in it, with labels of its own. An empty
namespace means the store itself. A `lease` holds what the operation is about before it is looked at.
"""

from dataclasses import dataclass, field

from actors.messages.declare import Labels, Number, operation


@operation("content.open", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentOpen:
    """Open the ingest `ref` for writing. Answer: `path` of its data and `offset` to go on from.

    Raises already_exists when the namespace knows `digest`, or may share what others have of it; and
    unavailable while somebody else writes this ref. An ingest without a lease expires after 24 hours.
    """

    ref: str
    digest: str = ""
    size: Number = 0
    namespace: str = "default"
    lease: str = ""


@operation("content.commit", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentCommit:
    """Make an ingest a blob: durable and visible when answered. Answer: as `content.info`.

    Labels are added to those that the namespace has put on the blob before.
    """

    ref: str
    digest: str
    size: Number
    namespace: str = "default"
    labels: Labels = field(default_factory=dict)
    lease: str = ""


@operation("content.info", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentInfo:
    """Answer: digest, size, path, created_at, updated_at, labels."""

    digest: str
    namespace: str = ""


@operation("content.read", "content", repeatable=True, streams=True)
@dataclass(frozen=True, slots=True)
class ContentRead:
    """The bytes of a blob, as buffers of PARTs that name their `offset`. Answer: the blob's `size`.

    Whoever reads compares what comes with the digest. Credit is in bytes; more than 16 MiB of it at once is
    refused.

    Attributes:
        offset: of the first byte.
        end: of the first byte that is not wanted any more; 0 for all that there is.
    """

    digest: str
    offset: Number = 0
    end: Number = 0


@operation("content.missing", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentMissing:
    """Answer: those of the digests that are not in the store, as `missing`. Hold them before you ask."""

    digests: list[str]


@operation("content.update", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentUpdate:
    """Replace the labels of a blob; with `fields`, only these of them. Answer: as `content.info`.

    Attributes:
        fields: `labels`, or `labels.KEY`, where the key may have dots; a key without a value is taken away.
    """

    namespace: str
    digest: str
    labels: Labels = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)


@operation("content.list", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentList:
    """Answer: `blobs`, each as `content.info` gives it.

    With `page`: as many as a message holds, and `next`, to be asked for as `after`; empty with the last.

    Attributes:
        filters: see docs/protocol.md, "Filters"; fields are digest, size and labels.
    """

    namespace: str = ""
    filters: list[str] = field(default_factory=list)
    page: bool = False
    after: str = ""


@operation("content.delete", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentDelete:
    """Have a namespace forget a blob; one that is gone is no error. What nobody knows is collected.

    With an empty namespace every one forgets it, and it is deleted at once.
    """

    digest: str
    namespace: str = ""


@operation("content.status", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentStatus:
    """How far an ingest is. Answer: ref, offset, total, expected, started_at, updated_at, leased."""

    ref: str
    namespace: str = "default"


@operation("content.statuses", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentStatuses:
    """Answer: `ingests`, each as `content.status` gives it; filters know the field ref."""

    namespace: str = ""
    filters: list[str] = field(default_factory=list)


@operation("content.abort", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentAbort:
    """Drop an ingest; one that is gone is no error.

    Attributes:
        strict: it is one; not repeatable.
    """

    ref: str
    namespace: str = "default"
    strict: bool = False


@operation("content.sweep", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentSweep:
    """Said by the collector: delete blobs and ingests that nobody knows or holds, and expired ingests.

    Answer: how many `blobs`, `bytes` and `ingests` went, and `next_expiry` of an ingest or null.
    """


@operation("content.check", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentCheck:
    """Read blobs and compare them with their digests, in a thread. Answer: `damaged`, `checked`, `bytes`.

    Attributes:
        limit: bytes to read at most, 0 for all; the smallest blobs first.
    """

    limit: Number = 0
