"""Layers of an image into snapshots, in order, each named by its chain ID."""

from collections.abc import Callable
from pathlib import Path

from actors import failpoints
from actors import messages as m
from actors.inflight import InFlight, Progress
from actors.linux.openat2 import open_in_root
from actors.linux.syncfs import syncfs
from storage.content import ContentStore
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.errors import InvalidArgumentError
from storage.image.chain import chain_ids
from storage.image.manifest import Manifest
from storage.layer.apply import apply_layer
from storage.layer.compression import open_blob
from transport.errors import RemoteError

COMMIT_LIMIT = 300.0  # seconds that a slow disk may take


def check_counts(manifest: Manifest, diff_ids: tuple[Digest, ...]) -> None:
    """Refuse an image whose manifest and config do not speak of the same layers. InvalidArgumentError."""
    if len(diff_ids) != len(manifest.layers):
        text = f"image has {len(manifest.layers)} layers but {len(diff_ids)} diff ids"
        raise InvalidArgumentError(text)


class Unpacker:
    """Unpacks for one transfer. A layer that is unpacked is not unpacked again."""

    def __init__(self, actor: InFlight, namespace: str, store: ContentStore) -> None:
        self._actor = actor
        self._namespace = namespace
        self._store = store

    def unpack(
        self,
        manifest: Manifest,
        diff_ids: tuple[Digest, ...],
        ready: Callable[[Descriptor], None] = lambda _: None,
    ) -> str:
        """Unpack every layer, the lowest first; `ready` waits until the blob is there. Gives the last name.

        Raises:
            StorageError, RemoteError: a layer is missing, hostile, or not what the image says.
        """
        check_counts(manifest, diff_ids)
        parent = ""
        for layer, diff_id, name in zip(manifest.layers, diff_ids, chain_ids(diff_ids), strict=True):
            ready(layer)
            self._unpack(layer, diff_id, str(name), parent)
            parent = str(name)
        return parent

    def _unpack(self, layer: Descriptor, diff_id: Digest, name: str, parent: str) -> None:
        kind, digest = self._actor.kind, str(layer.digest)
        if not self.is_unpacked(name):
            self._actor.moved(Progress(digest, "extracting", 0, layer.size))
            key = f"extract {self._actor.birth.name} {name}"
            self._actor.call(m.SnapshotsRemove(self._namespace, key))  # what a crash left half done
            place = self._actor.call(m.SnapshotsPrepare(self._namespace, key, parent))
            failpoints.hit(kind, "unpack", "before")
            self._apply(layer, diff_id, Path(place["upper"]), [Path(path) for path in place["lowers"]])
            failpoints.hit(kind, "unpack", "applied")
            self._actor.call(m.SnapshotsCommit(self._namespace, key, name), limit=COMMIT_LIMIT)
            failpoints.hit(kind, "unpack", "after")
        self._actor.moved(Progress(digest, "done", layer.size, layer.size))

    def is_unpacked(self, name: str) -> bool:
        """Whether there is a committed snapshot of that name."""
        try:
            found = self._actor.call(m.SnapshotsStat(self._namespace, name))
        except RemoteError as error:
            if error.code == "not_found":
                return False
            raise
        return bool(found["kind"] == "committed")

    def _apply(self, layer: Descriptor, diff_id: Digest, upper: Path, lowers: list[Path]) -> None:
        with self._store.open(layer.digest) as blob:
            applied = apply_layer(open_blob(blob), upper, lowers, open_in_root=open_in_root, sync=syncfs)
        if applied.diff_id != str(diff_id):
            text = f"layer {layer.digest} unpacks to {applied.diff_id}, but the image says {diff_id}"
            raise InvalidArgumentError(text)
