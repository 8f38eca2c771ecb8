"""Snapshots: the directories that layers are unpacked into and containers run on. overlayfs.

States: none beside the directory and its records. It mounts nothing: answers say how to mount, and where
the upper directory is, so that layers are applied without a mount. Removed trees are deleted after the
answer. Restarted by the supervisor, always; the start removes what no record names.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from actors import failpoints
from actors import messages as m
from actors.actor import Actor
from actors.call import Call
from actors.linux.syncfs import syncfs
from storage.errors import AlreadyExistsError, NotFoundError
from storage.snapshotters.overlay import OverlaySnapshotter
from storage.snapshotters.trees import delete_tree

SYNC_LIMIT = 300.0  # seconds that a slow disk may take for what a layer has put into the page cache


class SnapshotsActor(Actor):
    """One method an operation; see actors/messages/ for what each means."""

    kind = "snapshots"

    def started(self) -> None:
        """Open the records, then delete in the background what a crash left."""
        self._store = OverlaySnapshotter(self.settings.root / "snapshots", sync=_sync)
        self._deleting = False
        self._delete_discarded()

    def snapshots_prepare(self, body: m.SnapshotsPrepare, _: Call) -> dict[str, Any]:
        """A writable snapshot. Asked again for the same key on the same parent, it answers the same."""
        try:
            self._store.prepare(body.namespace, body.key, body.parent, body.labels)
        except AlreadyExistsError:
            known = self._store.stat(body.namespace, body.key)
            if (known.kind, known.parent) != ("active", body.parent):
                raise
        return self._how_to_use(body.namespace, body.key)

    def snapshots_mounts(self, body: m.SnapshotsMounts, _: Call) -> dict[str, Any]:
        """How to mount an active snapshot."""
        return self._how_to_use(body.namespace, body.key)

    def snapshots_commit(self, body: m.SnapshotsCommit, _: Call) -> None:
        """Commit. Where the name is taken, somebody unpacked the same layer: the key is dropped."""
        try:
            with self.busy(SYNC_LIMIT):
                self._store.commit(body.namespace, body.name, body.key)
        except AlreadyExistsError:
            self._drop(body.namespace, body.key)
        except NotFoundError:  # repeated after an answer that was lost
            self._store.stat(body.namespace, body.name)

    def snapshots_stat(self, body: m.SnapshotsStat, _: Call) -> dict[str, Any]:
        """One snapshot."""
        return _described(self._store.stat(body.namespace, body.key))

    def snapshots_list(self, body: m.SnapshotsList, _: Call) -> dict[str, Any]:
        """All snapshots of a namespace."""
        return {"snapshots": [_described(one) for one in self._store.list(body.namespace)]}

    def snapshots_remove(self, body: m.SnapshotsRemove, _: Call) -> None:
        """Remove; doing it twice is fine."""
        self._drop(body.namespace, body.key)

    def _drop(self, namespace: str, key: str) -> None:
        try:
            self._store.remove(namespace, key)
        except NotFoundError:
            return
        self._delete_discarded()

    def _how_to_use(self, namespace: str, key: str) -> dict[str, Any]:
        return {
            "mounts": [msgspec.to_builtins(mount) for mount in self._store.mounts(namespace, key)],
            "upper": str(self._store.upper(namespace, key)),
            "lowers": [str(path) for path in self._store.lowers(namespace, key)],
        }

    def _delete_discarded(self) -> None:
        """Delete in a thread, one at a time; what is discarded meanwhile has its turn afterwards."""
        waiting = () if self._deleting else self._store.discard()
        if waiting:
            self._deleting = True
            self.work(lambda: _delete(waiting), self._deleted)

    def _deleted(self, result: Any) -> None:
        self._deleting = False
        if isinstance(result, Exception):
            self.log.warning("a discarded snapshot could not be deleted: %s", result)
        else:
            self._delete_discarded()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        syncfs(descriptor)
    finally:
        os.close(descriptor)


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        failpoints.hit("snapshots", "delete", "before")
        delete_tree(path)
        failpoints.hit("snapshots", "delete", "after")


def _described(snapshot: Any) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(snapshot)
    return fields
