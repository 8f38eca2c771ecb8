"""Layers of an image into snapshots, each named by its chain ID, several at a time.

A layer may be unpacked while its blob still arrives. What that gives counts only once the blob is known to be
right: the snapshot is committed after both the blob's digest and the layer's diff ID have been compared.

With a snapshotter that stacks, a layer is unpacked into a snapshot of its own before those below it are
there, and put on them when it is committed. It is applied once more, in order, should it turn out to need
them for more than could be assumed (see storage/layer/tree.py). Others are unpacked one after the other.

Layers are committed in order, from the lowest; all that are ready by then are made durable by one syncfs,
since each one would wait for the files of all that are being unpacked.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from actors import failpoints
from actors import messages as m
from actors.applying import Appliers, Files, Layer
from actors.inflight import InFlight, Progress
from actors.layers import Layers, StoredLayers
from actors.linux.syncfs import sync_filesystem
from actors.paging import everything
from actors.relating import hold
from actors.settings import Settings
from actors.tracing import current
from storage.content import ContentStore
from storage.content.disk import reported
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.errors import FullError, InvalidArgumentError, UnavailableError
from storage.image.chain import chain_ids
from storage.image.manifest import Manifest
from storage.layer.apply import Applied
from storage.layer.limits import Limits
from storage.layer.tree import WrongAssumptionError
from transport.errors import RemoteError

COMMIT_LIMIT = 300.0  # seconds that a slow disk may take
PREPARE_LIMIT = 600.0  # seconds that the copy of a native snapshot may take
AT_ONCE = max(3, min(4, os.cpu_count() or 1))  # layers unpacked at the same time; some of them wait
MOST_LAYERS = 500  # that one mount of overlayfs may have below it (OVL_MAX_STACK)
TURN = 0.05  # seconds between looks at a layer that somebody else is unpacking


def check_counts(manifest: Manifest, diff_ids: tuple[Digest, ...]) -> None:
    """Refuse an image whose manifest and config do not speak of the same layers. InvalidArgumentError."""
    if len(diff_ids) != len(manifest.layers):
        text = f"image has {len(manifest.layers)} layers but {len(diff_ids)} diff ids"
        raise InvalidArgumentError(text)


def layer_limits(settings: Settings) -> Limits:
    """What a layer may cost by the configuration."""
    return Limits(
        entries=settings.layers_entries,
        header_bytes=settings.layers_header_bytes,
        total_bytes=settings.layers_total_bytes,
        ratio=settings.layers_ratio,
    )


class _OvertakenError(Exception):
    """Somebody else has made the snapshot of a layer: what is built on our files is to be built on that."""


@dataclass(slots=True, eq=False)
class _Step:
    """One layer: what it is, what it becomes, on what, and where its bytes come from.

    Attributes:
        applied: gives its files, once they are all there and right; None if there is a snapshot already.
        committed: done when there is a snapshot.
        held: what is to be undone when it is committed, or will not be: the lock of its name, its files.
    """

    layer: Descriptor
    diff_id: Digest
    name: str
    below: "_Step | None"
    layers: Layers
    applied: "Future[Files | None]" = field(init=False)
    committed: "Future[None]" = field(default_factory=Future)
    held: ExitStack = field(default_factory=ExitStack)

    @property
    def parent(self) -> str:
        """The name of what it is on."""
        return self.below.name if self.below else ""

    def wait_below(self) -> None:
        """Until the parent is committed; raises what kept it from that."""
        if self.below is not None:
            self.below.committed.result()

    @property
    def is_ready(self) -> bool:
        """Whether it could be committed."""
        return self.applied.done() and self.applied.exception() is None


def _steps(manifest: Manifest, diff_ids: tuple[Digest, ...], layers: Layers) -> list[_Step]:
    """From the lowest layer up."""
    steps: list[_Step] = []
    for layer, diff_id, name in zip(manifest.layers, diff_ids, chain_ids(diff_ids), strict=True):
        steps.append(_Step(layer, diff_id, str(name), steps[-1] if steps else None, layers))
    return steps


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
        self._appliers = Appliers()
        self._check = check
        self._snapshotter = snapshotter
        self._ahead = (snapshotter or actor.settings.snapshots_default) == "overlayfs"
        self._limits = layer_limits(actor.settings)

    def unpack(self, manifest: Manifest, diff_ids: tuple[Digest, ...], layers: Layers | None = None) -> str:
        """Unpack every layer. Gives the last name.

        Raises:
            StorageError, RegistryError, RemoteError: a layer is missing, hostile, or not what the image says.
        """
        self.hold(manifest, diff_ids)
        self.clear()
        while True:  # at each attempt one more layer is found done
            steps = _steps(manifest, diff_ids, layers or self._stored)
            with suppress(_OvertakenError):
                self._take_all(steps)
                return steps[-1].name if steps else ""

    def _take_all(self, steps: Sequence[_Step]) -> None:
        # Begun in order, so that the lowest one that is not done is at work, and others may wait for it.
        try:
            count, cause = AT_ONCE if self._ahead else 1, (current.get(),)
            threads = ThreadPoolExecutor(count, initializer=current.set, initargs=cause)
            with self._appliers, threads as pool:
                for step in steps:
                    step.applied = pool.submit(self._take, step)
                try:
                    self._commit_all(steps)
                except BaseException as error:
                    for step in steps:
                        if not step.committed.done():
                            step.committed.set_exception(error)
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
        finally:
            for step in steps:
                step.held.close()

    def check(self, manifest: Manifest) -> None:
        """Refuse what could not be unpacked or run before its first byte comes. InvalidArgumentError."""
        count, most = len(manifest.layers), self._limits.total_bytes
        if self._ahead and count > MOST_LAYERS:
            text = f"image has {count} layers, and overlayfs takes {MOST_LAYERS} at most: flatten the image"
            raise InvalidArgumentError(text)
        for layer in manifest.layers:
            if layer.size > most:
                text = f"layer {layer.digest} has {layer.size} bytes, above the limit of {most}"
                raise InvalidArgumentError(text)

    def hold(self, manifest: Manifest, diff_ids: tuple[Digest, ...]) -> None:
        """Have our lease hold blobs, snapshots to be and the way there, all before any is looked for."""
        check_counts(manifest, diff_ids)
        self.check(manifest)
        kind = f"snapshots/{self._snapshotter or self._actor.settings.snapshots_default}"
        names = [str(name) for name in chain_ids(diff_ids)]
        blobs = [("content", str(one.digest)) for one in manifest.children()]
        hold(self._actor, *blobs, *((kind, key) for name in names for key in (name, self._key(name))))

    def _take(self, step: _Step) -> Files | None:
        step.held.enter_context(self._alone(step.name))
        if self.is_unpacked(step.name):
            return None
        step.held.callback(self._give_up, step)
        files = self._applied(step)
        failpoints.hit(self._actor.kind, "unpack", "applied")
        return files

    def _give_up(self, step: _Step) -> None:
        if not step.committed.done() or step.committed.exception():
            with suppress(RemoteError):
                self._remove(self._key(step.name))

    def _applied(self, step: _Step) -> Files:
        """Apply a layer from where its bytes come; once more from the store, if they began anew meanwhile."""
        layer, layers = step.layer, step.layers
        try:
            files = self._apply_ahead(step)
        except Exception as error:
            layers.settle(layer)  # a blob that did not arrive well is the reason for everything else
            passing = isinstance(error, UnavailableError) and not isinstance(error, FullError)
            if layers is self._stored or not (passing or layers.renewed(layer)):
                raise
            return self._apply(step, self._stored, ahead=False)
        layers.settle(layer)
        return self._apply(step, self._stored, ahead=False) if layers.renewed(layer) else files

    def _apply_ahead(self, step: _Step) -> Files:
        """Apply it before those below are there, if they are not; again after them, if that was too early."""
        try:
            ahead = self._ahead and step.below is not None and not step.below.committed.done()
            return self._apply(step, step.layers, ahead=ahead)
        except WrongAssumptionError:
            step.layers.settle(step.layer)
            return self._apply(step, self._stored, ahead=False)

    def _apply(self, step: _Step, layers: Layers, *, ahead: bool) -> Files:
        """Prepare and fill a snapshot, on nothing if it is made ahead of its parent. Gives its files."""

        def look() -> None:
            self._check()
            if taken := layers.taken(step.layer):
                self._moved(step.layer, "extracting", taken)

        if not ahead:
            step.wait_below()
        into = self._prepared(step, ahead=ahead)
        with layers.open(step.layer) as blob:
            files = self._appliers.apply(into, blob, lambda: self._lowers(step), look)
        _compare(files.applied, step.layer, step.diff_id)
        return files

    def _prepared(self, step: _Step, *, ahead: bool) -> Layer:
        """A new snapshot to be filled."""
        key, parent = self._key(step.name), "" if ahead else step.parent
        self._remove(key)  # what a crash left half done
        prepare = m.SnapshotsPrepare(self._namespace, key, parent, snapshotter=self._snapshotter)
        place = self._actor.call(prepare, limit=PREPARE_LIMIT)
        failpoints.hit(self._actor.kind, "unpack", "before")
        below = None if ahead else tuple(map(Path, place["lowers"]))
        return Layer(Path(place["upper"]), self._limits, overlay=place["stacked"], lowers=below)

    def _lowers(self, step: _Step) -> list[Path]:
        """The directories below, nearest first, once everything is in them."""
        found: list[Path] = []
        below = step.below
        while below is not None:
            files = below.applied.result()
            if files is None:
                layers = m.SnapshotsLayers(self._namespace, below.name, self._snapshotter)
                return found + [Path(path) for path in self._actor.call(layers)["layers"]]
            found.append(files.directory)
            below = below.below
        return found

    def _commit_all(self, steps: Sequence[_Step]) -> None:
        """In order, as they get ready."""
        while steps:
            steps[0].applied.result()
            ready = list(takewhile(lambda step: step.is_ready, steps))
            self._sync(ready)
            for step in ready:
                self._finish(step)
            steps = steps[len(ready) :]

    def _sync(self, steps: Sequence[_Step]) -> None:
        """Have the files of some layers on the disk: here, not in the actor whom everybody waits for."""
        fresh = [files for step in steps if (files := step.applied.result())]
        if fresh:
            with reported(f"make {len(fresh)} layers durable", fresh[0].directory):
                sync_filesystem(fresh[0].directory)

    def _finish(self, step: _Step) -> None:
        step.layers.settle(step.layer)
        files = step.applied.result()
        if files is not None:
            self._commit(step, files)
            failpoints.hit(self._actor.kind, "unpack", "after")
        step.committed.set_result(None)
        step.held.close()
        self._moved(step.layer, "done", step.layer.size)

    def _commit(self, step: _Step, files: Files) -> None:
        commit = m.SnapshotsCommit(
            self._namespace,
            self._key(step.name),
            step.name,
            parent=step.parent,
            snapshotter=self._snapshotter,
            synced=True,
            inodes=files.usage.inodes,
            size=files.usage.size,
        )
        found = self._actor.call(commit, limit=COMMIT_LIMIT)
        if found["files"] != str(files.directory):
            raise _OvertakenError

    def _remove(self, key: str) -> None:
        self._actor.call(m.SnapshotsRemove(self._namespace, key, self._snapshotter))

    def _moved(self, layer: Descriptor, status: str, offset: int) -> None:
        self._actor.moved(Progress(str(layer.digest), status, offset, layer.size))

    def _key(self, name: str) -> str:
        return f"extract {self._actor.birth.name} {name}"

    def clear(self) -> None:
        """Remove what an earlier incarnation of this transfer left half unpacked."""
        if self._actor.birth.inc > 1:
            body = m.SnapshotsList(self._namespace, self._snapshotter)
            for one in everything(self._actor.call, body, "snapshots"):
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
