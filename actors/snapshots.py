"""Snapshots: the directories that layers are unpacked into and containers run on.

States: none beside the directories and their records, one set for each snapshotter; only those in use are
open. It mounts nothing: answers say how to mount, and where the upper directory is, so that layers are
applied without a mount. Removed trees are deleted after the answer. Restarted by the supervisor, always;
the start removes what no record names.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from actors import failpoints
from actors import messages as m
from actors.call import LATER, Call, Later
from actors.linux.syncfs import sync_filesystem
from actors.snapshot_sweeping import SnapshotSweepingActor
from storage.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from storage.snapshotters import NativeSnapshotter, OverlaySnapshotter, Snapshotter
from storage.snapshotters.contract import Usage
from storage.snapshotters.trees import delete_tree
from transport.errors import RemoteError

SYNC_LIMIT = 300.0  # seconds that a slow disk may take for what a layer has put into the page cache
COPY_LIMIT = 600.0  # seconds that copying or measuring a large tree may take
_KINDS: dict[str, tuple[str, Callable[..., Snapshotter]]] = {
    "overlayfs": ("snapshots", OverlaySnapshotter),
    "native": ("snapshots-native", NativeSnapshotter),
}
_LONGEST_PLACE = 18  # digits: less than 2**63
_Waiting = Callable[[Exception | None], None]


class SnapshotsActor(SnapshotSweepingActor):
    """One method an operation; see actors/messages/ for what each means."""

    kind = "snapshots"

    def started(self) -> None:
        """Open the records that there are, then delete in the background what a crash left."""
        self.stores: dict[str, Snapshotter] = {}
        self._deleting: set[str] = set()
        # Where something was discarded while others were being deleted; whether all are to be looked at.
        self._more: dict[str, bool] = {}
        self._waiting: dict[str, list[_Waiting]] = {}
        for name, (directory, _) in _KINDS.items():
            if name == self.settings.snapshots_default or (self.settings.root / directory).exists():
                self.delete_discarded(self.named(name))

    def named(self, name: str) -> Snapshotter:
        """The snapshotter of a request, opened when it is the first. Raises InvalidArgumentError."""
        name = name or self.settings.snapshots_default
        if name not in self.stores:
            self.stores[name] = opened(self.settings.root, name)
        return self.stores[name]

    def snapshots_prepare(self, body: m.SnapshotsPrepare, call: Call) -> dict[str, Any] | Later:
        """A writable snapshot. Asked again for the same key on the same parent, it answers the same."""
        make = self.named(body.snapshotter).prepare
        return self.held(call, body.key, lambda: self._made(body, "active", make))

    def snapshots_view(self, body: m.SnapshotsView, call: Call) -> dict[str, Any] | Later:
        """A read-only one; repeated as `prepare`."""
        make = self.named(body.snapshotter).view
        return self.held(call, body.key, lambda: self._made(body, "view", make))

    def snapshots_create(self, body: m.SnapshotsCreate, call: Call) -> dict[str, Any] | Later:
        """One of a key that there is not yet: of two who ask at the same time, it is one's."""
        store = self.named(body.snapshotter)
        make = store.view if body.view else store.prepare

        def made() -> dict[str, Any]:
            with self.busy(COPY_LIMIT):
                make(body.namespace, body.key, body.parent, body.labels)
            return how_to_use(store, body.namespace, body.key)

        return self.held(call, body.key, made)

    def _made(
        self, body: m.SnapshotsPrepare | m.SnapshotsView, kind: str, make: Callable[..., Any]
    ) -> dict[str, Any]:
        store = self.named(body.snapshotter)
        try:
            with self.busy(COPY_LIMIT):
                make(body.namespace, body.key, body.parent, body.labels)
        except AlreadyExistsError:
            known = store.stat(body.namespace, body.key)
            if (known.kind, known.parent) != (kind, body.parent):
                raise
        return how_to_use(store, body.namespace, body.key)

    def snapshots_mounts(self, body: m.SnapshotsMounts, _: Call) -> dict[str, Any]:
        """How to mount an active snapshot or a view."""
        return how_to_use(self.named(body.snapshotter), body.namespace, body.key)

    def snapshots_commit(self, body: m.SnapshotsCommit, call: Call) -> dict[str, Any] | Later:
        """Commit. Where the name is taken, somebody unpacked the same layer: the key is dropped."""
        return self.held(call, body.name, lambda: self._commit(body))

    def _commit(self, body: m.SnapshotsCommit) -> dict[str, Any]:
        store = self.named(body.snapshotter)
        try:
            with self.busy(SYNC_LIMIT):
                store.commit(
                    body.namespace,
                    body.name,
                    body.key,
                    body.labels,
                    usage=Usage(body.inodes, body.size) if body.inodes else None,
                    parent=body.parent,
                    synced=body.synced,
                )
        except AlreadyExistsError:
            if body.strict:
                raise
            self._drop(store, body.namespace, body.key)
        except NotFoundError:  # repeated after an answer that was lost
            if body.strict:
                raise
            store.stat(body.namespace, body.name)
        return {"files": str(store.layers(body.namespace, body.name)[0])}

    def snapshots_stat(self, body: m.SnapshotsStat, _: Call) -> dict[str, Any]:
        """One snapshot."""
        return described(self.named(body.snapshotter).stat(body.namespace, body.key))

    def snapshots_update(self, body: m.SnapshotsUpdate, _: Call) -> dict[str, Any]:
        """Labels."""
        store = self.named(body.snapshotter)
        return described(store.update(body.namespace, body.key, body.labels, body.fields))

    def snapshots_list(self, body: m.SnapshotsList, _: Call) -> dict[str, Any]:
        """All snapshots of a namespace, or a page of them."""
        store = self.named(body.snapshotter)
        if not body.page:
            return {"snapshots": [described(one) for one in store.list(body.namespace)]}
        found, following = store.page(body.namespace, _place_in_list(body.after))
        return {"snapshots": [described(one) for one in found], "next": str(following or "")}

    def snapshots_usage(self, body: m.SnapshotsUsage, call: Call) -> Later:
        """Inodes and bytes; what has to be measured is, in a thread."""
        measured = self.named(body.snapshotter).measuring(body.namespace, body.key)
        self.work(lambda: described(measured()), call.settle)
        return LATER

    def snapshots_layers(self, body: m.SnapshotsLayers, _: Call) -> dict[str, Any]:
        """What a snapshot on it would be stacked on."""
        found = self.named(body.snapshotter).layers(body.namespace, body.key)
        return {"layers": [str(path) for path in found]}

    def snapshots_remove(self, body: m.SnapshotsRemove, _: Call) -> None:
        """Remove; doing it twice is fine. Nothing is opened to find that there is nothing."""
        name = body.snapshotter or self.settings.snapshots_default
        if body.strict or name in self.stores or name not in _KINDS:
            self._drop(self.named(body.snapshotter), body.namespace, body.key, strict=body.strict)

    def snapshots_cleanup(self, body: m.SnapshotsCleanup, call: Call) -> Later:
        """Wait for the deleting that is under way, or what is left to delete."""
        store = self.named(body.snapshotter)
        self._waiting.setdefault(store.name, []).append(call.settle)
        self.delete_discarded(store)
        return LATER

    def _drop(self, store: Snapshotter, namespace: str, key: str, *, strict: bool = False) -> None:
        try:
            store.remove(namespace, key)
        except NotFoundError:
            if strict:
                raise
            return
        self.delete_discarded(store, every=False)

    def delete_discarded(self, store: Snapshotter, *, every: bool = True) -> None:
        """Delete in a thread, one at a time; what is discarded meanwhile has its turn afterwards.

        What cannot be deleted has another turn with the next removal or collection.
        """
        if store.name in self._deleting:
            self._more[store.name] = every or self._more.get(store.name, False)
            return
        self._more.pop(store.name, None)
        if waiting := store.discard(every=every):
            self._deleting.add(store.name)
            self.work(lambda: _delete(waiting), lambda result: self._deleted(store, result))
        else:
            self._tell_waiting(store, None)

    def _deleted(self, store: Snapshotter, result: Any) -> None:
        self._deleting.discard(store.name)
        failed = isinstance(result, Exception)
        if failed:
            self.log.warning("a discarded snapshot could not be deleted: %s", result)
        if failed and store.name not in self._more:
            text = f"removed snapshots remain: {result}"
            self._tell_waiting(store, RemoteError("unavailable", text, outcome="unknown"))
        else:
            self.delete_discarded(store, every=self._more.get(store.name, False))

    def is_deleting(self, store: Snapshotter) -> bool:
        """Whether what was removed of it is on its way out."""
        return store.name in self._deleting

    def _tell_waiting(self, store: Snapshotter, result: Exception | None) -> None:
        for settle in self._waiting.pop(store.name, []):
            settle(result)


def opened(root: Path, name: str, *, reader: bool = False) -> Snapshotter:
    """A snapshotter by its name, below the daemon's root. Raises StorageError."""
    if name not in _KINDS:
        raise InvalidArgumentError(f'snapshotter "{name}" is none of {", ".join(_KINDS)}')
    directory, make = _KINDS[name]
    return make(root / directory, sync=sync_filesystem, reader=reader)


def _place_in_list(after: str) -> int:
    if after and not (after.isascii() and after.isdecimal() and len(after) <= _LONGEST_PLACE):
        raise InvalidArgumentError(f"{after[:80]!a} is not what a page of snapshots is followed by")
    return int(after or 0)


def how_to_use(store: Snapshotter, namespace: str, key: str) -> dict[str, Any]:
    """What is answered of a snapshot that is to be mounted. Raises StorageError."""
    place = store.place(namespace, key)
    mounts = [msgspec.to_builtins(mount) for mount in place.mounts]
    if place.upper is None:
        return {"mounts": mounts}
    lowers = [str(path) for path in place.lowers]
    return {"mounts": mounts, "upper": str(place.upper), "lowers": lowers, "stacked": store.stacked}


def _delete(paths: Iterable[Path]) -> None:
    """As many as can be; raises what kept the first of the others."""
    kept: list[OSError] = []
    for path in paths:
        failpoints.hit("snapshots", "delete", "before")
        try:
            delete_tree(path)
        except OSError as error:
            kept.append(error)
        failpoints.hit("snapshots", "delete", "after")
    if kept:
        raise kept[0]


def described(snapshot: Any) -> dict[str, Any]:
    """A snapshot's record, or its usage, as it is answered."""
    fields: dict[str, Any] = msgspec.to_builtins(snapshot)
    return fields
