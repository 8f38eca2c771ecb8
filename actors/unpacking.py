"""Layers of an image into snapshots, each named by its chain ID, several at a time.

A layer may be unpacked while its blob still arrives. What that gives counts only once the blob is known to be
right: the snapshot is committed after both the blob's digest and the layer's diff ID have been compared.

With a snapshotter that stacks, a layer is unpacked into a snapshot of its own before those below it are
there, and put on them when it is committed. It is applied once more, in order, should it turn out to need
them for more than could be assumed (see storage/layer/tree.py). Others are unpacked one after the other.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from actors import failpoints
from actors import messages as m
from actors.applying import Layer, apply_in_child
from actors.inflight import InFlight, Progress
from actors.relating import hold
from storage.content import ContentStore
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.errors import InvalidArgumentError, UnavailableError
from storage.image.chain import chain_ids
from storage.image.manifest import Manifest
from storage.layer.apply import Applied
from storage.layer.compression import Readable
from storage.layer.limits import Limits
from storage.layer.tree import WrongAssumptionError
from transport.errors import RemoteError

COMMIT_LIMIT = 300.0  # seconds that a slow disk may take
PREPARE_LIMIT = 600.0  # seconds that the copy of a native snapshot may take
AT_ONCE = max(2, min(4, os.cpu_count() or 1))  # layers unpacked at the same time
TURN = 0.05  # seconds between looks at a layer that somebody else is unpacking


class Layers(Protocol):
    """Where the bytes of layers come from, when that is not the store."""

    def open(self, layer: Descriptor) -> AbstractContextManager[Readable]:
        """The blob from its first byte on; it may still be arriving, and nobody has verified it."""

    def settle(self, layer: Descriptor) -> None:
        """Return once the blob is in the store, verified. Raises what kept it from coming."""

    def taken(self, layer: Descriptor) -> int:
        """How many bytes of it were read, once it has arrived; 0 before."""

    def renewed(self, layer: Descriptor) -> bool:
        """Whether what was read first turned out wrong, and the blob that is in the store came after it."""


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

    def renewed(self, layer: Descriptor) -> bool:
        """What is in the store is right."""
        del layer
        return False


def check_counts(manifest: Manifest, diff_ids: tuple[Digest, ...]) -> None:
    """Refuse an image whose manifest and config do not speak of the same layers. InvalidArgumentError."""
    if len(diff_ids) != len(manifest.layers):
        text = f"image has {len(manifest.layers)} layers but {len(diff_ids)} diff ids"
        raise InvalidArgumentError(text)


@dataclass(frozen=True, slots=True)
class _Step:
    """One layer: what it is, what it becomes, on what, and where its bytes come from.

    `below` is done when the parent is committed.
    """

    layer: Descriptor
    diff_id: Digest
    name: str
    parent: str
    below: "Future[None] | None"
    layers: Layers

    def wait_below(self) -> None:
        """Until the parent is committed; raises what kept it from that."""
        if self.below is not None:
            self.below.result()


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
        snapshotter: m.SnapshotterName = "",
    ) -> None:
        self._actor = actor
        self._namespace = namespace
        self._stored = StoredLayers(store)
        self._check = check
        self._snapshotter = snapshotter
        settings = actor.settings
        self._ahead = (snapshotter or settings.snapshots_default) == "overlayfs"
        self._limits = Limits(
            entries=settings.layers_entries,
            header_bytes=settings.layers_header_bytes,
            total_bytes=settings.layers_total_bytes,
            ratio=settings.layers_ratio,
        )

    def unpack(self, manifest: Manifest, diff_ids: tuple[Digest, ...], layers: Layers | None = None) -> str:
        """Unpack every layer. Gives the last name.

        Raises:
            StorageError, RegistryError, RemoteError: a layer is missing, hostile, or not what the image says.
        """
        self.hold(manifest, diff_ids)
        self.clear()
        parent, below = "", None
        # Begun in order, so that the lowest one that is not done is at work, and others may wait for it.
        with ThreadPoolExecutor(AT_ONCE if self._ahead else 1) as pool:
            steps = []
            for layer, diff_id, name in zip(manifest.layers, diff_ids, chain_ids(diff_ids), strict=True):
                step = _Step(layer, diff_id, str(name), parent, below, layers or self._stored)
                parent, below = step.name, pool.submit(self._take, step)
                steps.append(below)
            try:
                for one in steps:
                    one.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return parent

    def hold(self, manifest: Manifest, diff_ids: tuple[Digest, ...]) -> None:
        """Have our lease hold blobs, snapshots to be and the way there, all before any is looked for."""
        check_counts(manifest, diff_ids)
        kind = f"snapshots/{self._snapshotter or self._actor.settings.snapshots_default}"
        names = [str(name) for name in chain_ids(diff_ids)]
        blobs = [("content", str(one.digest)) for one in manifest.children()]
        hold(self._actor, *blobs, *((kind, key) for name in names for key in (name, self._key(name))))

    def _take(self, step: _Step) -> None:
        with self._alone(step.name):
            if not self.is_unpacked(step.name):
                self._unpack(step)
        step.layers.settle(step.layer)
        step.wait_below()
        self._moved(step.layer, "done", step.layer.size)

    def _unpack(self, step: _Step) -> None:
        kind, key = self._actor.kind, self._key(step.name)
        try:
            applied = self._applied(step, key)
            _compare(applied, step.layer, step.diff_id)
            failpoints.hit(kind, "unpack", "applied")
            step.wait_below()
            self._commit(step, key)
            failpoints.hit(kind, "unpack", "after")
        except Exception:
            with suppress(RemoteError):
                self._remove(key)
            raise

    def _applied(self, step: _Step, key: str) -> Applied:
        """Apply a layer from where its bytes come; once more from the store, if they began anew meanwhile."""
        layer, layers = step.layer, step.layers
        try:
            applied = self._apply_ahead(step, key)
        except Exception as error:
            layers.settle(layer)  # a blob that did not arrive well is the reason for everything else
            again = isinstance(error, UnavailableError) or layers.renewed(layer)
            if layers is self._stored or not again:
                raise
            return self._apply(step, key, self._stored, ahead=False)
        layers.settle(layer)
        return self._apply(step, key, self._stored, ahead=False) if layers.renewed(layer) else applied

    def _apply_ahead(self, step: _Step, key: str) -> Applied:
        """Apply it before those below are there, if they are not; again after them, if that was too early."""
        try:
            ahead = self._ahead and step.below is not None and not step.below.done()
            return self._apply(step, key, step.layers, ahead=ahead)
        except WrongAssumptionError:
            step.layers.settle(step.layer)
            return self._apply(step, key, self._stored, ahead=False)

    def _apply(self, step: _Step, key: str, layers: Layers, *, ahead: bool) -> Applied:
        """Prepare and fill the snapshot `key`, on nothing if it is made ahead of its parent."""

        def look() -> None:
            self._check()
            if taken := layers.taken(step.layer):
                self._moved(step.layer, "extracting", taken)

        if not ahead:
            step.wait_below()
        with layers.open(step.layer) as blob:
            self._remove(key)  # what a crash left half done
            prepare = m.SnapshotsPrepare(
                self._namespace, key, "" if ahead else step.parent, snapshotter=self._snapshotter
            )
            place = self._actor.call(prepare, limit=PREPARE_LIMIT)
            failpoints.hit(self._actor.kind, "unpack", "before")
            below = None if ahead else tuple(map(Path, place["lowers"]))
            into = Layer(Path(place["upper"]), self._limits, overlay=place["stacked"], lowers=below)
            return apply_in_child(into, blob, lambda: self._lowers(step), look)

    def _lowers(self, step: _Step) -> list[Path]:
        """The directories below, once they are there."""
        step.wait_below()
        layers = m.SnapshotsLayers(self._namespace, step.parent, self._snapshotter)
        return [Path(path) for path in self._actor.call(layers)["layers"]]

    def _commit(self, step: _Step, key: str) -> None:
        commit = m.SnapshotsCommit(
            self._namespace, key, step.name, parent=step.parent, snapshotter=self._snapshotter
        )
        self._actor.call(commit, limit=COMMIT_LIMIT)

    def _remove(self, key: str) -> None:
        self._actor.call(m.SnapshotsRemove(self._namespace, key, self._snapshotter))

    def _moved(self, layer: Descriptor, status: str, offset: int) -> None:
        self._actor.moved(Progress(str(layer.digest), status, offset, layer.size))

    def _key(self, name: str) -> str:
        return f"extract {self._actor.birth.name} {name}"

    def clear(self) -> None:
        """Remove what an earlier incarnation of this transfer left half unpacked."""
        if self._actor.birth.inc > 1:
            for one in self._actor.call(m.SnapshotsList(self._namespace, self._snapshotter))["snapshots"]:
                if one["key"].startswith(self._key("")):
                    self._remove(one["key"])

    def is_unpacked(self, name: str) -> bool:
        """Whether there is a committed snapshot of that name."""
        try:
            found = self._actor.call(m.SnapshotsStat(self._namespace, name, self._snapshotter))
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
        own = hashlib.sha256(f"{self._namespace} {self._snapshotter} {name}".encode()).hexdigest()[:32]
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
