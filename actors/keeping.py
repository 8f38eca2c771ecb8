"""Bytes into the content store, from the process that has them: it writes the ingest, content commits it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol

from actors import failpoints
from actors import messages as m
from actors.call import BUSY
from storage.content import IngestWriter
from storage.descriptor import Descriptor
from storage.errors import BusyError, NotFoundError
from transport.errors import RemoteError

COMMIT_LIMIT = 300.0  # seconds that a slow disk may take for a blob
OTHERS_LIMIT = 60.0  # seconds that another writer may keep us from committing
OTHERS_TURN = 5.0  # and from writing what is written in a moment
TURN = 0.02  # seconds between attempts


class Asking(Protocol):
    """An actor, as far as a worker thread of it is concerned."""

    kind: ClassVar[str]

    def call(self, body: Any, *, to: str = "", limit: float = 30.0) -> Any:
        """Send a request and wait. Raises RemoteError."""


class Keeping(Asking, Protocol):
    """One that works in a namespace, under a lease."""

    @property
    def namespace(self) -> str:
        """Where it works."""

    @property
    def lease(self) -> str:
        """What holds the blobs that it opens."""


def ref_of(descriptor: Descriptor) -> str:
    """The ref of the ingest that becomes a blob."""
    return f"blob-{descriptor.digest}"


def _ref_beside(actor: Keeping, descriptor: Descriptor) -> str:
    """That of an ingest of the actor's own for the same blob, which goes with its lease."""
    return f"{ref_of(descriptor)} {actor.lease}"


def is_kept(actor: Keeping, descriptor: Descriptor) -> bool:
    """Whether a blob is in the store and stays there for us: first held, then looked for. RemoteError."""
    digest = str(descriptor.digest)
    try:
        actor.call(m.ContentsMerge(actor.namespace, {digest: {}}, actor.lease))
    except RemoteError as error:
        if error.code == "not_found":  # others have it, and do not share it
            return False
        raise
    return not actor.call(m.ContentMissing([digest]))["missing"]


def keep(
    actor: Keeping,
    descriptor: Descriptor,
    fill: Callable[[IngestWriter], object],
    *,
    source: str = "",
    beside: bool = False,
) -> None:
    """Have `fill` write what is missing of a blob, and commit it; a blob that is there already is fine.

    `source` tells others where the bytes come from. With `beside` it does not matter who else writes it.

    Raises:
        BusyError: somebody else is writing it.
        StorageError, RemoteError: it could not be written, or is not what the descriptor says. What has
            come stays in the ingest.
    """
    digest = str(descriptor.digest)
    ref = _ref_beside(actor, descriptor) if beside else ref_of(descriptor)
    try:
        found = actor.call(m.ContentOpen(ref, digest, descriptor.size, actor.namespace, actor.lease))
    except RemoteError as error:
        if error.code == "already_exists":
            return
        if error.code == "deadline_exceeded" or error.details.get(BUSY):
            raise BusyError(f"blob {digest} is being written by somebody else") from error
        raise
    with _writer(Path(found["path"]), descriptor, source) as writer:
        if not _is_whole(writer, descriptor):
            fill(writer)
        writer.finish()
    failpoints.hit(actor.kind, "commit", "before")
    commit = m.ContentCommit(ref, digest, descriptor.size, actor.namespace, {}, actor.lease)
    # Another one may have opened the ingest once our writer let go: what they write is this very blob.
    _patiently(lambda: _commit(actor, commit), time.sleep, OTHERS_LIMIT)
    failpoints.hit(actor.kind, "commit", "after")


def _writer(path: Path, descriptor: Descriptor, source: str) -> IngestWriter:
    algorithm = descriptor.digest.algorithm
    try:
        return IngestWriter(path, limit=descriptor.size, algorithm=algorithm, source=source)
    except NotFoundError as error:  # somebody else has committed or aborted it this very moment
        raise BusyError(str(error)) from error


def _is_whole(writer: IngestWriter, descriptor: Descriptor) -> bool:
    """Whether somebody has written all of it, and not committed it yet; else `fill` may go on from here.

    A document comes in one piece. What has its length and is something else, as after a power cut, is begun
    anew.
    """
    has_its_length = writer.offset == descriptor.size
    if has_its_length and writer.digest() == descriptor.digest:
        return True
    if has_its_length or descriptor.media_type.endswith("+json"):
        writer.start_at(0)
    return False


def keep_in_turn(
    actor: Keeping,
    descriptor: Descriptor,
    fill: Callable[[IngestWriter], object],
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """As `keep`, after whoever else is writing it; for what is written in a moment. Who takes longer is left.

    `pause` waits so many seconds, and may raise to end that. Raises as `keep`.
    """
    try:
        _patiently(lambda: keep(actor, descriptor, fill), pause, OTHERS_TURN)
    except BusyError:
        keep(actor, descriptor, fill, beside=True)


def _commit(actor: Asking, commit: m.ContentCommit) -> None:
    try:
        actor.call(commit, limit=COMMIT_LIMIT)
    except RemoteError as error:
        if error.details.get(BUSY):
            raise BusyError(str(error)) from error
        raise


def _patiently(attempt: Callable[[], object], pause: Callable[[float], object], limit: float) -> None:
    end = time.monotonic() + limit
    while True:
        try:
            attempt()
        except BusyError:
            if time.monotonic() > end:
                raise
            pause(TURN)
        else:
            return
