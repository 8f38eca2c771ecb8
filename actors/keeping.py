"""Bytes into the content store, from the process that has them: it writes the ingest, content commits it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol

from actors import failpoints
from actors import messages as m
from storage.content import IngestWriter
from storage.descriptor import Descriptor
from transport.errors import RemoteError


class Asking(Protocol):
    """An actor, as far as a worker thread of it is concerned."""

    kind: ClassVar[str]

    def call(self, body: Any, *, to: str = "", limit: float = 30.0) -> Any:
        """Send a request and wait. Raises RemoteError."""


def keep(actor: Asking, descriptor: Descriptor, fill: Callable[[IngestWriter], None]) -> None:
    """Have `fill` write what is missing of a blob, and commit it; a blob that is there already is fine.

    Raises:
        StorageError, RemoteError: it could not be written, or is not what the descriptor says. What has
            come stays in the ingest.
    """
    digest = str(descriptor.digest)
    ref = f"blob-{digest}"
    try:
        found = actor.call(m.ContentOpen(ref, digest, descriptor.size))
    except RemoteError as error:
        if error.code == "already_exists":
            return
        raise
    algorithm = descriptor.digest.algorithm
    with IngestWriter(Path(found["path"]), limit=descriptor.size, algorithm=algorithm) as writer:
        if descriptor.media_type.endswith("+json") or writer.offset >= descriptor.size:
            writer.start_at(0)
        fill(writer)
        writer.finish()
    failpoints.hit(actor.kind, "commit", "before")
    actor.call(m.ContentCommit(ref, digest, descriptor.size))
    failpoints.hit(actor.kind, "commit", "after")
