"""Content: blobs are read from the store's files, and written to an ingest's; the content actor commits."""

import os
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

from actors import messages as m
from actors.gateway.translation import Asking, labels_of, pages, put_time
from actors.paging import everything
from storage.content import ContentStore, IngestWriter
from storage.digest import Digest
from transport.errors import RemoteError
from transport.grpc.interface import message
from transport.grpc.server import Call, OutOfRangeError, Service

_PACKAGE: Final = "containerd.services.content.v1"
_EMPTY: Final = "google.protobuf.Empty"
PIECE: Final = 1 << 20  # bytes of a blob in one message
PAGE: Final = 100
OPEN_SECONDS: Final = 2.0  # that a write waits for a ref which another one writes, or for the store
STAT, WRITE, COMMIT = 0, 1, 2


class Content(Asking, Service):
    """containerd.services.content.v1.Content."""

    name = f"{_PACKAGE}.Content"

    @cached_property
    def _store(self) -> ContentStore:
        """Its blobs, to be read."""
        return ContentStore(self.actor.settings.content, reader=True)

    def info(self, request: Any, call: Call) -> Any:
        """One blob, as the namespace knows it."""
        found = self.ask(call, m.ContentInfo(request.digest, call.namespace))
        return message(f"{_PACKAGE}.InfoResponse")(info=_info(found))

    def update(self, request: Any, call: Call) -> Any:
        """Labels."""
        given = request.info
        body = m.ContentUpdate(
            call.namespace, given.digest, dict(given.labels), list(request.update_mask.paths)
        )
        return message(f"{_PACKAGE}.UpdateResponse")(info=_info(self.ask(call, body)))

    def list(self, request: Any, call: Call) -> Iterator[Any]:
        """Those that pass a filter."""
        wish = m.ContentList(call.namespace, list(request.filters))
        found = everything(partial(self.ask, call), wish, "blobs")
        make = message(f"{_PACKAGE}.ListContentResponse")
        yield from pages([_info(one) for one in found], PAGE, lambda page: make(info=page))

    def delete(self, request: Any, call: Call) -> Any:
        """Forgotten here; one that is not known here is an error."""
        self.ask(call, m.ContentInfo(request.digest, call.namespace))
        known = m.ContentsGet(call.namespace, request.digest)
        forget = m.ContentsForget(call.namespace, request.digest, strict=True)
        self.ask_once(call, forget, lambda: self.is_gone(call, known))
        self.announce(call, "/content/delete", digest=request.digest)
        return message(_EMPTY)()

    def read(self, request: Any, call: Call) -> Iterator[Any]:
        """Bytes from an offset on; size 0 means: to the end."""
        digest = Digest.parse(request.digest)
        self.ask(call, m.ContentsGet(call.namespace, request.digest))  # else it is not the namespace's
        make = message(f"{_PACKAGE}.ReadContentResponse")
        with self._store.open(digest) as file:
            at, end = _range(request, os.fstat(file.fileno()).st_size)
            file.seek(at)
            while at < end and (data := file.read(min(PIECE, end - at))):
                yield make(offset=at, data=data)
                at += len(data)

    def status(self, request: Any, call: Call) -> Any:
        """How far an ingest is."""
        found = self.ask(call, m.ContentStatus(request.ref, call.namespace))
        return message(f"{_PACKAGE}.StatusResponse")(status=_status(found, call.namespace))

    def list_statuses(self, request: Any, call: Call) -> Any:
        """Ingests of the namespace."""
        found = self.ask(call, m.ContentStatuses(call.namespace, list(request.filters)))["ingests"]
        return message(f"{_PACKAGE}.ListStatusesResponse")(
            statuses=[_status(one, call.namespace) for one in found]
        )

    def abort(self, request: Any, call: Call) -> Any:
        """Drop one; one that is not there is an error."""
        known = m.ContentStatus(request.ref, call.namespace)
        abort = m.ContentAbort(request.ref, call.namespace, strict=True)
        self.ask_once(call, abort, lambda: self.is_gone(call, known))
        return message(_EMPTY)()

    def write(self, requests: Iterator[Any], call: Call) -> Iterator[Any]:
        """One ingest, message after message; the first one names it. What came stays when the client goes."""
        writing: _Writing | None = None
        try:
            for request in requests:
                if writing is None:
                    writing = _Writing(self, call, request)
                yield writing.take(request)
                if writing.committed:
                    return
        finally:
            if writing is not None:
                writing.close()


def _range(request: Any, size: int) -> tuple[int, int]:
    """Where to begin, and where to end. Who asks for more than there is gets what there is, as of any file.

    Raises:
        OutOfRangeError: it begins where there is nothing.
    """
    if request.offset < 0 or request.size < 0 or request.offset > size:
        text = f"blob {request.digest} has {size} bytes: there are no {request.size} at {request.offset}"
        raise OutOfRangeError(text)
    return request.offset, min(size, request.offset + request.size) if request.size else size


class _Writing:
    """One ingest in one stream."""

    def __init__(self, service: Content, call: Call, first: Any) -> None:
        if not first.ref:
            raise RemoteError("invalid_argument", "first message of a write must have a ref")
        self._service, self._call = service, call
        self.ref, self.total, self.expected = first.ref, first.total, first.expected
        found = self._opened(first)
        self._writer = IngestWriter(Path(found["path"]), limit=None)
        self.committed = False

    def _opened(self, first: Any) -> Any:
        """Not for as long as the client waits: it comes back by itself when another one writes."""
        call = self._call
        self._service.appear(call)
        body = m.ContentOpen(first.ref, first.expected, max(0, first.total), call.namespace, call.lease)
        try:
            return self._service.actor.call(body, limit=min(call.limit, OPEN_SECONDS))
        except RemoteError as error:
            if error.code == "deadline_exceeded":
                raise RemoteError("unavailable", str(error)) from error
            raise

    def take(self, request: Any) -> Any:
        """Do what a message asks, and answer it."""
        answer = message(f"{_PACKAGE}.WriteContentResponse")(action=request.action)
        if request.total:
            self.total = request.total
        if request.expected:
            self.expected = request.expected
        if request.action != STAT:
            self._place(request.offset)
            self._refuse_wrong_size(self._writer.offset + len(request.data), final=False)
            self._writer.write(request.data)
        if request.action == COMMIT:
            self._commit(request, answer)
        answer.offset, answer.total = self._writer.offset, self.total
        if request.action == STAT:
            found = self._service.ask(self._call, m.ContentStatus(self.ref, self._call.namespace))
            put_time(answer.started_at, found["started_at"])
            put_time(answer.updated_at, found["updated_at"])
        return answer

    def _place(self, offset: int) -> None:
        """Offset 0 begins anew; any other must be where the ingest ends."""
        if offset == self._writer.offset:
            return
        if offset:
            raise OutOfRangeError(f"offset {offset} of ingest {self.ref!r}: expected {self._writer.offset}")
        self._writer.start_at(0)

    def _refuse_wrong_size(self, size: int, *, final: bool) -> None:
        if self.total and (size > self.total or (final and size != self.total)):
            text = f"ingest {self.ref!r} has {size} bytes, not {self.total}"
            raise RemoteError("failed_precondition", text)

    def _commit(self, request: Any, answer: Any) -> None:
        size = self._writer.offset
        self._refuse_wrong_size(size, final=True)
        digest = str(self._writer.finish())
        self._writer.close()  # who commits takes the lock
        if self.expected and self.expected != digest:
            text = f"ingest {self.ref!r} has digest {digest}, not {self.expected}"
            raise RemoteError("failed_precondition", text)
        known, call = self._is_known(digest), self._call
        labels = {} if known else labels_of(request)
        self._service.ask(call, m.ContentCommit(self.ref, digest, size, call.namespace, labels, call.lease))
        if known:  # the ingest is gone, the lease holds the blob; all the same it is said
            raise RemoteError("already_exists", f"content {digest}: already exists")
        self.committed = True
        answer.digest = digest

    def _is_known(self, digest: str) -> bool:
        """Whether the namespace has it already."""
        try:
            self._service.ask(self._call, m.ContentInfo(digest, self._call.namespace))
        except RemoteError as error:
            if error.code != "not_found":
                raise
            return False
        return True

    def close(self) -> None:
        """Let go of the ingest."""
        self._writer.close()


def _info(found: dict[str, Any]) -> Any:
    info = message(f"{_PACKAGE}.Info")(digest=found["digest"], size=found["size"], labels=found["labels"])
    put_time(info.created_at, found["created_at"])
    put_time(info.updated_at, found["updated_at"])
    return info


def _status(found: dict[str, Any], namespace: str) -> Any:
    status = message(f"{_PACKAGE}.Status")(
        ref=found["ref"].removeprefix(f"{namespace}/"),
        offset=found["offset"],
        total=found["total"] or 0,
        expected=found["expected"] or "",
    )
    put_time(status.started_at, found["started_at"])
    put_time(status.updated_at, found["updated_at"])
    return status
