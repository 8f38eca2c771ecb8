"""Snapshots, by the name of their snapshotter."""

import contextlib
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from actors import messages as m
from actors.gateway.translation import Asking, labels_of, mounts, pages, put_time
from actors.paging import everything
from storage.filters import parse_filters
from transport.errors import RemoteError
from transport.grpc.interface import message
from transport.grpc.server import Call, Service

_PACKAGE = "containerd.services.snapshots.v1"
_KINDS = {"view": 1, "active": 2, "committed": 3}
PAGE = 100


class Snapshots(Asking, Service):
    """containerd.services.snapshots.v1.Snapshots."""

    name = f"{_PACKAGE}.Snapshots"

    def prepare(self, request: Any, call: Call) -> Any:
        """A writable one. A key that there is already is refused, as a client expects."""
        found = self._created(request, call, view=False)
        self.announce(call, "/snapshot/prepare", key=request.key, parent=request.parent)
        return message(f"{_PACKAGE}.PrepareSnapshotResponse")(mounts=mounts(found))

    def view(self, request: Any, call: Call) -> Any:
        """A read-only one."""
        found = self._created(request, call, view=True)
        return message(f"{_PACKAGE}.ViewSnapshotResponse")(mounts=mounts(found))

    def _created(self, request: Any, call: Call, *, view: bool) -> Any:
        """Mounts of one whose key was not there before. Raises RemoteError."""
        self._refuse_known(request, request.key, call)  # before a lease holds what is somebody else's
        if not request.parent:  # which is of the same namespace
            self.appear(call)
        began = time.time_ns()
        body = m.SnapshotsCreate(
            call.namespace,
            request.key,
            request.parent,
            labels_of(request),
            request.snapshotter,
            call.lease,
            view=view,
        )
        return self.ask_once(call, body, lambda: self._since(began, request, call))["mounts"]

    def _since(self, began: int, request: Any, call: Call) -> Any:
        """How to mount the snapshot of this key, if it was made since then (nanoseconds)."""
        with contextlib.suppress(RemoteError):
            if self._stat(request, request.key, call)["created_at"] >= began:
                return self.ask(call, m.SnapshotsMounts(call.namespace, request.key, request.snapshotter))
        return None

    def mounts(self, request: Any, call: Call) -> Any:
        """How to mount one."""
        found = self.ask(call, m.SnapshotsMounts(call.namespace, request.key, request.snapshotter))["mounts"]
        return message(f"{_PACKAGE}.MountsResponse")(mounts=mounts(found))

    def commit(self, request: Any, call: Call) -> Any:
        """Under a name that there is not yet."""
        self._refuse_known(request, request.name, call)
        began = time.time_ns()
        body = m.SnapshotsCommit(
            call.namespace,
            request.key,
            request.name,
            labels_of(request),
            snapshotter=request.snapshotter,
            lease=call.lease,
            strict=True,
        )
        self.ask_once(call, body, lambda: self._committed(began, request, call))
        self.announce(call, "/snapshot/commit", key=request.key, name=request.name)
        return message("google.protobuf.Empty")()

    def _committed(self, began: int, request: Any, call: Call) -> bool | None:
        """Whether the name has been made since then (nanoseconds), and of this key."""
        with contextlib.suppress(RemoteError):
            if self._stat(request, request.name, call)["updated_at"] >= began:
                return self.is_gone(call, m.SnapshotsStat(call.namespace, request.key, request.snapshotter))
        return None

    def remove(self, request: Any, call: Call) -> Any:
        """One that is not there is an error, and so is one with children."""
        self._stat(request, request.key, call)
        known = m.SnapshotsStat(call.namespace, request.key, request.snapshotter)
        body = m.SnapshotsRemove(call.namespace, request.key, request.snapshotter, strict=True)
        self.ask_once(call, body, lambda: self.is_gone(call, known))
        self.announce(call, "/snapshot/remove", key=request.key)
        return message("google.protobuf.Empty")()

    def stat(self, request: Any, call: Call) -> Any:
        """One."""
        found = self._stat(request, request.key, call)
        return message(f"{_PACKAGE}.StatSnapshotResponse")(info=_info(found))

    def update(self, request: Any, call: Call) -> Any:
        """Labels."""
        given = request.info
        body = m.SnapshotsUpdate(
            call.namespace,
            given.name,
            dict(given.labels),
            list(request.update_mask.paths),
            request.snapshotter,
        )
        return message(f"{_PACKAGE}.UpdateSnapshotResponse")(info=_info(self.ask(call, body)))

    def list(self, request: Any, call: Call) -> Iterator[Any]:
        """Those that pass a filter."""
        filters = parse_filters(list(request.filters))
        body = m.SnapshotsList(call.namespace, request.snapshotter)
        found = everything(partial(self.ask, call), body, "snapshots")
        kept = [_info(one) for one in found if filters.match(partial(_field, one))]
        make = message(f"{_PACKAGE}.ListSnapshotsResponse")
        yield from pages(kept, PAGE, lambda page: make(info=page))

    def usage(self, request: Any, call: Call) -> Any:
        """What it takes on the disk."""
        found = self.ask(call, m.SnapshotsUsage(call.namespace, request.key, request.snapshotter))
        return message(f"{_PACKAGE}.UsageResponse")(size=found["size"], inodes=found["inodes"])

    def cleanup(self, request: Any, call: Call) -> Any:
        """Files of what was removed."""
        self.ask(call, m.SnapshotsCleanup(request.snapshotter))
        return message("google.protobuf.Empty")()

    def _stat(self, request: Any, key: str, call: Call) -> Any:
        return self.ask(call, m.SnapshotsStat(call.namespace, key, request.snapshotter))

    def _refuse_known(self, request: Any, key: str, call: Call) -> None:
        try:
            self._stat(request, key, call)
        except RemoteError as error:
            if error.code == "not_found":
                return
            raise
        raise RemoteError("already_exists", f'snapshot "{key}": already exists')


def _info(found: dict[str, Any]) -> Any:
    info = message(f"{_PACKAGE}.Info")(
        name=found["key"], parent=found["parent"] or "", kind=_KINDS[found["kind"]], labels=found["labels"]
    )
    put_time(info.created_at, found["created_at"])
    put_time(info.updated_at, found["updated_at"])
    return info


def _field(snapshot: dict[str, Any], path: Any) -> str | None:
    """Fields that a filter may name: name, parent, kind, labels."""
    match tuple(path):
        case ("name",):
            return str(snapshot["key"])
        case ("parent",):
            return str(snapshot["parent"] or "")
        case ("kind",):
            return str(snapshot["kind"])
        case ("labels", *rest):
            found: str | None = snapshot["labels"].get(".".join(rest))
            return found
    return None
