"""Layers of an image into snapshots, in order, each named by its chain ID.

A layer may be unpacked while its blob still arrives. What that gives counts only once the blob is known to be
right: the snapshot is committed after both the blob's digest and the layer's diff ID have been compared.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from actors import failpoints
from actors import messages as m
from actors.inflight import InFlight, Progress
from actors.linux.openat2 import open_in_root
from actors.linux.syncfs import syncfs
from storage.content import ContentStore
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.errors import InvalidArgumentError, UnavailableError
from storage.image.chain import chain_ids
from storage.image.manifest import Manifest
from storage.layer.apply import Applied, apply_layer
from storage.layer.compression import Readable, open_blob
from transport.errors import RemoteError

COMMIT_LIMIT = 300.0  # seconds that a slow disk may take
TURN = 0.05  # seconds between looks at a layer that somebody else is unpacking


class Layers(Protocol):
    """Where the bytes of layers come from, when that is not the store."""

    def open(self, layer: Descriptor) -> AbstractContextManager[Readable]:
        """The blob from its first byte on; it may still be arriving, and nobody has verified it."""

    def settle(self, layer: Descriptor) -> None:
        """Return once the blob is in the store, verified. Raises what kept it from coming."""

    def taken(self, layer: Descriptor) -> int:
        """How many bytes of it were read, once it has arrived; 0 before."""


class StoredLayers:
    """Layers whose blobs are in the store."""

    def __init__(self, store: ContentStore) -> None:
        self._store = store

    def open(self, layer: Descriptor) -> AbstractContextManager[Readable]:
        """The blob."""
        return self._store.open(layer.digest)

    def settle(self, layer: Descriptor) -> None:
        """It is there."""

    def taken(self, layer: Descriptor) -> int:
        """Nobody counts."""
        del layer
        return 0


def check_counts(manifest: Manifest, diff_ids: tuple[Digest, ...]) -> None:
    """Refuse an image whose manifest and config do not speak of the same layers. InvalidArgumentError."""
    if len(diff_ids) != len(manifest.layers):
        text = f"image has {len(manifest.layers)} layers but {len(diff_ids)} diff ids"
        raise InvalidArgumentError(text)


class Unpacker:
    """Unpacks for one transfer. A layer that is unpacked, by whomever, is not unpacked again.

    `check` is called now and then, and may raise to end it.
    """

    def __init__(
        self,
        actor: InFlight,
        namespace: str,
        store: ContentStore,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._actor = actor
        self._namespace = namespace
        self._stored = StoredLayers(store)
        self._check = check

    def unpack(self, manifest: Manifest, diff_ids: tuple[Digest, ...], layers: Layers | None = None) -> str:
        """Unpack every layer, the lowest first. Gives the last name.

        Raises:
            StorageError, RegistryError, RemoteError: a layer is missing, hostile, or not what the image says.
        """
        check_counts(manifest, diff_ids)
        self.clear()
        parent = ""
        for layer, diff_id, name in zip(manifest.layers, diff_ids, chain_ids(diff_ids), strict=True):
            with self._alone(str(name)):
                if not self.is_unpacked(str(name)):
                    self._unpack(layer, diff_id, str(name), parent, layers or self._stored)
            if layers is not None:
                layers.settle(layer)
            self._actor.moved(Progress(str(layer.digest), "done", layer.size, layer.size))
            parent = str(name)
        return parent

    def _unpack(self, layer: Descriptor, diff_id: Digest, name: str, parent: str, layers: Layers) -> None:
        kind, key = self._actor.kind, self._key(name)
        try:
            applied = self._applied(layer, key, parent, layers)
            _compare(applied, layer, diff_id)
            failpoints.hit(kind, "unpack", "applied")
            self._actor.call(m.SnapshotsCommit(self._namespace, key, name), limit=COMMIT_LIMIT)
            failpoints.hit(kind, "unpack", "after")
        except Exception:
            with suppress(RemoteError):
                self._actor.call(m.SnapshotsRemove(self._namespace, key))
            raise

    def _applied(self, layer: Descriptor, key: str, parent: str, layers: Layers) -> Applied:
        """Apply a layer from where its bytes come; once more from the store, if they began anew meanwhile."""
        try:
            applied = self._apply(layer, key, parent, layers)
        except Exception as error:
            layers.settle(layer)  # a blob that did not arrive well is the reason for everything else
            if layers is self._stored or not isinstance(error, UnavailableError):
                raise
            return self._apply(layer, key, parent, self._stored)
        layers.settle(layer)
        return applied

    def _apply(self, layer: Descriptor, key: str, parent: str, layers: Layers) -> Applied:
        def progress(_: int) -> None:
            self._check()
            if taken := layers.taken(layer):
                self._actor.moved(Progress(str(layer.digest), "extracting", taken, layer.size))

        with layers.open(layer) as blob:
            self._actor.call(m.SnapshotsRemove(self._namespace, key))  # what a crash left half done
            place = self._actor.call(m.SnapshotsPrepare(self._namespace, key, parent))
            failpoints.hit(self._actor.kind, "unpack", "before")
            return apply_layer(
                open_blob(blob),
                Path(place["upper"]),
                [Path(path) for path in place["lowers"]],
                open_in_root=open_in_root,
                sync=syncfs,
                on_progress=progress,
            )

    def _key(self, name: str) -> str:
        return f"extract {self._actor.birth.name} {name}"

    def clear(self) -> None:
        """Remove what an earlier incarnation of this transfer left half unpacked."""
        if self._actor.birth.inc > 1:
            for one in self._actor.call(m.SnapshotsList(self._namespace))["snapshots"]:
                if one["key"].startswith(self._key("")):
                    self._actor.call(m.SnapshotsRemove(self._namespace, one["key"]))

    def is_unpacked(self, name: str) -> bool:
        """Whether there is a committed snapshot of that name."""
        try:
            found = self._actor.call(m.SnapshotsStat(self._namespace, name))
        except RemoteError as error:
            if error.code == "not_found":
                return False
            raise
        return bool(found["kind"] == "committed")

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Hold the lock of a snapshot to be: of several transfers one unpacks it, the others find it done."""
        directory = self._actor.settings.state / "unpacking"
        directory.mkdir(mode=0o700, exist_ok=True)
        own = hashlib.sha256(f"{self._namespace} {name}".encode()).hexdigest()[:32]
        descriptor = self._locked(directory / own)
        try:
            yield
        finally:
            (directory / own).unlink(missing_ok=True)
            os.close(descriptor)

    def _locked(self, path: Path) -> int:
        """An open file, locked, that still has its name: its last owner removes it before letting go."""
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_nlink:
                    return descriptor
            except BlockingIOError:
                pass
            os.close(descriptor)
            self._check()
            time.sleep(TURN)


def _compare(applied: Applied, layer: Descriptor, diff_id: Digest) -> None:
    if applied.diff_id != str(diff_id):
        text = f"layer {layer.digest} unpacks to {applied.diff_id}, but the image says {diff_id}"
        raise InvalidArgumentError(text)
