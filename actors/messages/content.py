"""Blobs: content."""

from dataclasses import dataclass

from actors.messages.declare import Number, operation


@operation("content.open", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentOpen:
    """Open the ingest `ref` for writing. Answer: `path` of its directory and `offset` to go on from.

    Raises already_exists when `digest` is in the store.
    """

    ref: str
    digest: str = ""
    size: Number = 0


@operation("content.commit", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentCommit:
    """Make an ingest a blob: durable and visible when answered."""

    ref: str
    digest: str
    size: Number


@operation("content.info", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentInfo:
    """Answer: digest, size, path, created_at."""

    digest: str


@operation("content.list", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentList:
    """Answer: `blobs`, each as `content.info` gives it."""


@operation("content.delete", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentDelete:
    """Delete a blob. One that is gone is no error."""

    digest: str
