"""Content: owner of the blobs and ingests under root/content.

States: none beside the directory; in memory only which blobs are about to be deleted. Bytes never come
in through its mailbox: a puller opens the ingest's file itself and asks for the commit. They go out that
way to other hosts alone (actors/reading.py). Which namespace knows
which blob, and by which labels, is on record in metadata; a record is written once its blob is durable.
Restarted by the supervisor, always; the start recovers what a crash left.
"""

import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from actors import failpoints
from actors import messages as m
from actors.call import LATER, Call, Later
from actors.reading import Readings
from actors.sweeping import SweepingActor
from storage.content import ContentStore, Info, IngestStatus
from storage.content.store import IDLE_SECONDS
from storage.digest import Digest
from storage.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError, StorageError
from storage.filters import parse_filters
from storage.names import check_identifier
from transport.errors import RemoteError

SYNC_LIMIT = 300.0  # seconds that a slow disk may take for a blob
BATCH = 256  # blobs shut at once
PAGE = 10_000  # blobs in one message
ISOLATED = "isolated"


@dataclass(slots=True)
class _Sweep:
    """A sweep under way."""

    call: Call
    blobs: list[Digest]
    ingests: list[str]
    gone: dict[str, int]


class ContentActor(SweepingActor):
    """One method an operation; see actors/messages/ for what each means."""

    kind = "content"

    def started(self) -> None:
        """Open the store and put right what a crash left."""
        self._store = ContentStore(self.settings.content)
        self._isolated = self.settings.content_sharing == ISOLATED
        self._readings = Readings(self, self._store)
        with self.busy(SYNC_LIMIT):
            self._store.recover()

    def concerns(self, body: Any) -> Iterable[Hashable]:
        """Digests, and an ingest's ref."""
        return (getattr(body, "digest", ""), getattr(body, "ref", ""), *getattr(body, "digests", ()))

    # Ingests

    def content_open(self, body: m.ContentOpen, call: Call) -> dict[str, Any] | Later:
        """Open or resume an ingest, once its lease holds it; or say that the blob is there."""
        check_identifier("namespace", body.namespace)
        digest = Digest.parse(body.digest) if body.digest else None
        present = digest is not None and self._store.has(digest)
        if not present and not body.lease:
            return self._opened(body, digest)
        admit = m.ContentsAdmit(
            body.namespace, body.ref, body.digest, body.lease, present=present, isolated=self._isolated
        )
        self.ask_about(
            (body.digest,), admit, call, lambda found: self._admitted(body, digest, found, present=present)
        )
        return LATER

    def _admitted(
        self, body: m.ContentOpen, digest: Digest | None, found: Any, *, present: bool
    ) -> dict[str, Any]:
        if digest is None or not self._store.has(digest):
            return self._opened(body, digest)
        if not present:  # it has come while metadata was asked, whose answer is about its absence
            raise RemoteError("unavailable", f"blob {digest} has come this moment; ask again")
        if found["known"]:
            self._forget_how(self._stored(body.namespace, body.ref, body.digest))
            raise AlreadyExistsError(f"blob {digest} exists already")
        return self._opened(body, None)  # others have it, and this namespace must show that it has it too

    def _opened(self, body: m.ContentOpen, expected: Digest | None) -> dict[str, Any]:
        ingest = self._store.open_ingest(
            self._stored(body.namespace, body.ref, body.digest),
            expected=expected,
            total=body.size or None,
            leased=bool(body.lease),
        )
        return {"path": str(ingest.path), "offset": ingest.offset}

    def content_status(self, body: m.ContentStatus, _: Call) -> dict[str, Any]:
        """One ingest."""
        return _ingest(self._store.status(self._stored(body.namespace, body.ref)))

    def content_statuses(self, body: m.ContentStatuses, _: Call) -> dict[str, Any]:
        """The ingests of a namespace, or all."""
        filters = parse_filters(body.filters)
        own = (body.namespace, "") if body.namespace else None
        found = [_ingest(one) for one in self._store.statuses() if own is None or _parts(one.ref)[0] in own]
        return {"ingests": [one for one in found if filters.match(partial(_field, one))]}

    def content_abort(self, body: m.ContentAbort, _: Call) -> None:
        """Drop an ingest; doing it twice is fine."""
        try:
            self._store.abort(self._stored(body.namespace, body.ref))
        except NotFoundError:
            if body.strict:
                raise

    def _stored(self, namespace: str, ref: str, digest: str = "") -> str:
        """The ref in the store. Where content is shared, so is the fetching: one blob, one ingest."""
        named = digest or ref.removeprefix("blob-")
        if ref == f"blob-{named}" and ":" in named and not self._isolated:
            return ref
        return f"{namespace}/{ref}"

    def content_commit(self, body: m.ContentCommit, call: Call) -> Later:
        """Make an ingest a blob. Whoever wrote it has hashed it with the store's own writer."""
        digest = Digest.parse(body.digest)
        ref = self._stored(body.namespace, body.ref, body.digest)
        put = m.ContentsPut(body.namespace, str(digest), body.labels, body.ref, body.lease)
        if self._isolated and not self._has_ingest(ref):  # nothing was brought: it has to be known already
            self.ask_about((body.digest,), m.ContentsGet(body.namespace, body.digest), call, self._described)
            return LATER
        with self.busy(SYNC_LIMIT):
            self._store.commit(ref, digest, body.size, verified=True, keep=True)
        failpoints.hit("content", "commit", "durable")

        def recorded(row: Mapping[str, Any]) -> dict[str, Any]:
            failpoints.hit("content", "commit", "recorded")
            self._forget_how(ref)
            return self._described(row)

        self.ask_about((body.digest,), put, call, recorded)
        return LATER

    def _forget_how(self, ref: str) -> None:
        """Drop an ingest whose blob is on record now; by then its ref may be another attempt's."""
        with suppress(NotFoundError):
            if self._store.status(ref).committed:
                self._store.abort(ref)

    def _has_ingest(self, ref: str) -> bool:
        try:
            self._store.status(ref)
        except NotFoundError:
            return False
        return True

    # Blobs

    def content_info(self, body: m.ContentInfo, call: Call) -> dict[str, Any] | Later:
        """One blob, as a namespace knows it or as it is."""
        digest = Digest.parse(body.digest)
        if not body.namespace:
            return self._info(self._store.info(digest))
        self.ask_about((body.digest,), m.ContentsGet(body.namespace, body.digest), call, self._described)
        return LATER

    def content_read(self, body: m.ContentRead, call: Call) -> Later:
        """Its bytes, for other hosts: on this one, whoever may know the path opens the file."""
        self._readings.begin(body, call)
        return LATER

    def credited(self, call: Call) -> None:
        """A reader has taken some."""
        self._readings.credited(call)

    def cancelled(self, call: Call) -> None:
        """A reader has gone, or anybody else."""
        super().cancelled(call)
        self._readings.cancelled(call)

    def content_missing(self, body: m.ContentMissing, _: Call) -> dict[str, Any]:
        """Which blobs are not here."""
        return {"missing": [one for one in body.digests if not self._store.has(Digest.parse(one))]}

    def content_update(self, body: m.ContentUpdate, call: Call) -> Later:
        """Labels."""
        self._store.info(Digest.parse(body.digest))
        update = m.ContentsUpdate(body.namespace, body.digest, body.labels, body.fields)
        self.ask_about((body.digest,), update, call, self._described)
        return LATER

    def content_list(self, body: m.ContentList, call: Call) -> dict[str, Any] | Later:
        """The blobs that a namespace knows, or all that there are; or a page of them."""
        filters = parse_filters(body.filters)

        def matching(found: Iterable[dict[str, Any]], following: str = "") -> dict[str, Any]:
            blobs = [one for one in found if filters.match(partial(_field, one))]
            return {"blobs": blobs, "next": following} if body.page else {"blobs": blobs}

        def known(result: dict[str, Any]) -> dict[str, Any]:
            return matching(self._present(result["contents"]), result.get("next", ""))

        if not body.namespace:
            blobs, following = self._page(body.after) if body.page else (self._store.blobs(), "")
            return matching(map(self._info, blobs), following)
        self.ask_about((), m.ContentsList(body.namespace, body.page, body.after), call, known)
        return LATER

    def _page(self, after: str) -> tuple[list[Info], str]:
        """Some of all blobs, and what to go on after; nothing where these are the last."""
        left = sorted((one for one in self._store.blobs() if str(one.digest) > after), key=_by_digest)
        return left[:PAGE], str(left[PAGE - 1].digest) if len(left) > PAGE else ""

    def _present(self, rows: Sequence[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
        for row in rows:
            try:
                yield self._described(row)
            except NotFoundError:  # on record, and lost: `system check` tells
                continue

    def content_delete(self, body: m.ContentDelete, call: Call) -> Later:
        """Have it forgotten; where nobody knows it any more, it goes."""
        digest = Digest.parse(body.digest)
        forget = m.ContentsForget(body.namespace, body.digest)

        def forgotten(result: Any) -> None:
            if isinstance(result, Exception):
                call.fail(result)
                return
            if not body.namespace:
                self._delete(digest)
            call.reply()

        self.sweep((body.digest,), forget, forgotten)
        return LATER

    def _delete(self, digest: Digest) -> int:
        """The bytes that are free now."""
        try:
            size = self._store.info(digest).size
            self._store.delete(digest)
        except (NotFoundError, InvalidArgumentError):  # the latter: no blob has a digest of that algorithm
            return 0
        return size

    # Collection

    def content_sweep(self, _body: m.ContentSweep, call: Call) -> Later:
        """All blobs, some at a time, and the ingests."""
        self._store.clear_remains()
        blobs = [info.digest for info in self._store.blobs()]
        leased = [one.ref for one in self._store.statuses() if one.leased]
        gone = {"blobs": 0, "bytes": 0, "ingests": self._expire()}
        self._sweep_on(_Sweep(call, blobs, leased, gone))
        return LATER

    def _sweep_on(self, sweep: _Sweep) -> None:
        if not sweep.blobs and not sweep.ingests:
            sweep.call.reply({**sweep.gone, "next_expiry": self._next_expiry()})
            return
        refs, sweep.ingests = sweep.ingests[:BATCH], sweep.ingests[BATCH:]
        room = 0 if refs else BATCH  # ingests go first: a committed one keeps its blob
        some, sweep.blobs = sweep.blobs[:room], sweep.blobs[room:]
        arriving = {one.committed for one in self._store.statuses()}
        digests = [str(one) for one in self.sweepable(str(one) for one in some if one not in arriving)]
        names: dict[str, list[str]] = {}
        for ref in refs:  # two namespaces may use one ref
            names.setdefault(_parts(ref)[1], []).append(ref)

        def decided(result: Any) -> None:
            if isinstance(result, Exception):
                sweep.call.fail(result)
                return
            failpoints.hit("content", "sweep", "before")
            self._remove(sweep, result["digests"], [one for ref in result["ingests"] for one in names[ref]])
            failpoints.hit("content", "sweep", "after")
            self.soon(lambda: self._sweep_on(sweep))

        try:
            self.sweep((*digests, *names), m.ContentsUnheld(digests, list(names)), decided)
        except Exception as error:  # noqa: BLE001  # whatever it is, the collector has to hear of it
            sweep.call.fail(error)

    def _remove(self, sweep: _Sweep, digests: Iterable[str], refs: Iterable[str]) -> None:
        for digest in digests:
            sweep.gone["bytes"] += self._delete(Digest.parse(digest))
            sweep.gone["blobs"] += 1
            failpoints.hit("content", "sweep", "each")
        for ref in refs:
            sweep.gone["ingests"] += self._abort(ref)

    def _expire(self) -> int:
        return sum(self._abort(ref) for ref in self._store.expired(time.time()))

    def _abort(self, ref: str) -> int:
        try:
            self._store.abort(ref)
        except NotFoundError:
            return 0
        return 1

    def _next_expiry(self) -> int | None:
        """When the next ingest without a lease expires, if nobody writes to it."""
        waiting = [one.updated for one in self._store.statuses() if not one.leased]
        return int((min(waiting) + IDLE_SECONDS) * 1e9) if waiting else None

    def content_check(self, body: m.ContentCheck, call: Call) -> Later:
        """Read and compare, in a thread: reading blobs takes no lock."""
        self.work(lambda: _verified(ContentStore(self.settings.content), body.limit), call.settle)
        return LATER

    def _described(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return described(self._store, row)

    def _info(self, info: Info) -> dict[str, Any]:
        return _as_it_is(self._store, info)


def described(store: ContentStore, row: Mapping[str, Any]) -> dict[str, Any]:
    """A blob as a namespace has it on record. Raises NotFoundError: it is lost."""
    info = _as_it_is(store, store.info(Digest.parse(row["digest"])))
    times = {key: row[key] or info[key] for key in ("created_at", "updated_at")}
    return {**info, **times, "labels": row["labels"]}


def _as_it_is(store: ContentStore, info: Info) -> dict[str, Any]:
    return {
        "digest": str(info.digest),
        "size": info.size,
        "path": str(store.path(info.digest)),
        "created_at": int(info.created * 1e9),
        "updated_at": int(info.updated * 1e9),
        "labels": {},
    }


def _by_digest(info: Info) -> str:
    return str(info.digest)


def _parts(stored: str) -> tuple[str, str]:
    """Namespace and ref of an ingest; the namespace is empty where all share it."""
    namespace, slash, ref = stored.partition("/")
    return (namespace, ref) if slash else ("", stored)


def _ingest(status: IngestStatus) -> dict[str, Any]:
    namespace, ref = _parts(status.ref)
    return {
        "namespace": namespace,
        "ref": ref,
        "offset": status.offset,
        "total": status.total or 0,
        "expected": str(status.expected or ""),
        "started_at": int(status.started * 1e9),
        "updated_at": int(status.updated * 1e9),
        "leased": status.leased,
    }


def _field(described: Mapping[str, Any], path: Sequence[str]) -> str | None:
    """A field of a description, for filters; labels by their whole key."""
    if path[0] == "labels":
        found: str | None = described.get("labels", {}).get(".".join(path[1:]))
        return found
    value = described.get(path[0]) if len(path) == 1 else None
    return None if value is None else str(value)


def _verified(store: ContentStore, limit: int) -> dict[str, Any]:
    """Compare blobs with their digests, the smallest first, up to `limit` bytes."""
    damaged, checked, read = [], 0, 0
    for info in sorted(store.blobs(), key=lambda one: one.size):
        if limit and read + info.size > limit:
            break
        try:
            with store.open(info.digest, verified=True) as stream:
                while stream.read(1 << 20):
                    pass
        except NotFoundError:  # collected meanwhile
            continue
        except (StorageError, OSError) as error:
            damaged.append({"digest": str(info.digest), "error": str(error)})
        checked, read = checked + 1, read + info.size
    return {"damaged": damaged, "checked": checked, "bytes": read}
