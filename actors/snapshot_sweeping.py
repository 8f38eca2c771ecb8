"""How snapshots are collected, checked and backed up. Part of the snapshots actor."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

import msgspec

from actors import failpoints
from actors import messages as m
from actors.call import LATER, Call, Later
from actors.sweeping import SweepingActor
from storage.backup import backup_path
from storage.collection.labels import concern_collection
from storage.errors import FailedPreconditionError, NotFoundError, StorageError
from storage.snapshotters import Snapshot, Snapshotter, Usage

GRAPH_BYTES: Final = 15 << 20  # a message has 16 MiB
NODE_BYTES: Final = 48  # of the names of its fields

Name = tuple[str, str, str]
"""Snapshotter, namespace, key."""


class SnapshotSweepingActor(SweepingActor):
    """One method an operation; see actors/messages/snapshots.py for what each means."""

    stores: dict[str, Snapshotter]

    def named(self, name: str) -> Snapshotter:
        """The snapshotter of that name."""
        raise NotImplementedError

    def delete_discarded(self, store: Snapshotter, *, every: bool = True) -> None:
        """Delete what was removed, in the background; with `every`, whoever has left it."""
        raise NotImplementedError

    def is_deleting(self, store: Snapshotter) -> bool:
        """Whether that is under way."""
        raise NotImplementedError

    def concerns(self, body: Any) -> Iterable[Hashable]:
        """Keys, names and parents."""
        snapshotter = getattr(body, "snapshotter", "") or self.settings.snapshots_default
        namespace = getattr(body, "namespace", "")
        values = [getattr(body, name, "") for name in ("key", "name", "parent")]
        return [(snapshotter, namespace, value) for value in values if value]

    def held(self, call: Call, key: str, then: Callable[[], dict[str, Any]]) -> dict[str, Any] | Later:
        """What `then` answers; if the request names a lease, only once that holds the key."""
        body = call.body
        if not body.lease:
            return then()
        resource = m.LeaseResource(f"snapshots/{self.named(body.snapshotter).name}", key)
        hold = m.LeasesAddResource(body.namespace, body.lease, [resource])
        self.ask_about(self.concerns(body), hold, call, lambda _: then())
        return LATER

    def snapshots_graph(self, _body: m.SnapshotsGraph, _: Call) -> dict[str, Any]:
        """All of them, as nodes. Raises FailedPreconditionError: they are too many for a message."""
        return {"snapshots": self._nodes()}

    def _nodes(self) -> list[m.SnapshotNode]:
        """What leads where is decided over all of them, so they have to fit into one message."""
        found = [
            m.SnapshotNode(one.namespace, name, one.key, one.parent, concern_collection(one.labels))
            for name, store in self.stores.items()
            for one in store.list()
        ]
        if sum(map(_size, found)) > GRAPH_BYTES:
            text = f"{len(found)} snapshots have more names and labels than can be looked through at once"
            raise FailedPreconditionError(f"{text} (15 MiB, of 70,000 layers): remove images or containers")
        return found

    def snapshots_sweep(self, body: m.SnapshotsSweep, call: Call) -> Later:
        """Remove those of the candidates that nothing leads to even now, children before parents."""
        wanted = [(one.snapshotter, one.namespace, one.key) for one in body.snapshots]
        names = set(self.sweepable(wanted))
        for store in self.stores.values():
            self.delete_discarded(store)  # what could not be deleted before
        if not names:
            call.reply({"snapshots": 0})
            return LATER

        def decided(result: Any) -> None:
            if isinstance(result, Exception):
                call.fail(result)
                return
            unreached = {(one["snapshotter"], one["namespace"], one["key"]) for one in result["snapshots"]}
            failpoints.hit("snapshots", "sweep", "before")
            removed = sum(self._remove_all(store, unreached & names) for store in self.stores.values())
            call.reply({"snapshots": removed})
            failpoints.hit("snapshots", "sweep", "after")

        self.sweep(names, m.CollectionUnreached(self._nodes()), decided)
        return LATER

    def _remove_all(self, store: Snapshotter, names: set[Name]) -> int:
        removed = 0
        for one in reversed(store.list()):
            if (store.name, one.namespace, one.key) not in names:
                continue
            try:
                store.remove(one.namespace, one.key)
            except (NotFoundError, FailedPreconditionError):  # a child was made meanwhile: another time
                continue
            removed += 1
            failpoints.hit("snapshots", "sweep", "each")
        if removed:
            self.delete_discarded(store)
        return removed

    def snapshots_usages(self, body: m.SnapshotsUsages, call: Call) -> Later:
        """A committed one's is on record, that of others is measured, in a thread."""
        measured = [
            (store.name, one, store.measuring(one.namespace, one.key))
            for store in self.stores.values()
            for one in store.list()
            if one.kind == "committed" or not body.recorded
        ]
        self.work(lambda: {"usages": list(_usages(measured))}, call.settle)
        return LATER

    def snapshots_check(self, _body: m.SnapshotsCheck, _: Call) -> dict[str, Any]:
        """Records against directories. What is being deleted is nobody's to worry about."""
        stores = list(self.stores.values())
        settled = [store for store in stores if not self.is_deleting(store)]
        return {
            "problems": [line for store in stores for line in store.check()],
            "orphans": [str(path) for store in settled for path in store.orphans()],
        }

    def snapshots_repair(self, _body: m.SnapshotsRepair, _: Call) -> dict[str, Any]:
        """Committed snapshots without files cannot be had again but from their layers: their records go."""
        removed = []
        for store in self.stores.values():
            removed += [{"namespace": space, "key": key} for space, key in store.forget_lost()]
            self.delete_discarded(store)
        return {"removed": removed}

    def snapshots_backup(self, body: m.SnapshotsBackup, _: Call) -> dict[str, Any]:
        """A copy of the records of each snapshotter that is in use."""
        copies = {_copy_of(name): store for name, store in sorted(self.stores.items(), reverse=True)}
        for copy, store in copies.items():
            store.backup(backup_path(f"{body.directory}/{copy}"))
        return {"names": list(copies)}


def _size(node: m.SnapshotNode) -> int:
    """Bytes of it in a message, about."""
    texts = (node.namespace, node.snapshotter, node.key, node.parent, *node.labels, *node.labels.values())
    return NODE_BYTES + sum(len(text) + 3 for text in texts)


def _copy_of(snapshotter: str) -> str:
    """The name of a copy of its records: as that of its directory below the daemon's root."""
    return "snapshots.db" if snapshotter == "overlayfs" else f"snapshots-{snapshotter}.db"


def _usages(measured: Iterable[tuple[str, Snapshot, Callable[[], Usage]]]) -> Iterator[dict[str, Any]]:
    """Of each that is still there."""
    for snapshotter, one, measure in measured:
        with suppress(StorageError):
            yield {
                "snapshotter": snapshotter,
                "namespace": one.namespace,
                "key": one.key,
                "kind": one.kind,
                **msgspec.to_builtins(measure()),
            }
