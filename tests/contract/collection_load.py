"""Transfers, leases and deletions beside a collector, as a load: real actors, real files, small blobs.

Each simulated transfer does what a puller does, in the same order: take a lease, hold, open, write, commit,
unpack, label, name, release. Some are cut off anywhere, some are repeated on the same blobs, some images are
removed again. While a lease holds something that was seen to be there, it must be there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actor_town import LIMIT

from actors import messages as m
from storage.content import IngestWriter
from storage.errors import StorageError
from transport.errors import RemoteError

if TYPE_CHECKING:
    from actor_town import Town

NAMESPACE = "load"
OVERLAY = "snapshots/overlayfs"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Cut(Exception):  # noqa: N818  # not an error: the transfer's process was killed here
    """The end of a transfer, in the middle."""


@dataclass
class Tally:
    """What has happened, and what must not have."""

    counts: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Worker:
    """One thread's transfers, each drawn from a seed."""

    def __init__(self, town: Town, tally: Tally, seed: int) -> None:
        self.town, self.tally = town, tally
        self.chance = random.Random(seed)  # noqa: S311
        self.seed = seed
        self.client = town.client()

    def ask(self, body: Any) -> Any:
        operation = m.operation_of(body)
        fields = dataclasses.asdict(body)
        return self.client.request(
            operation.name, fields, to=operation.owner, limit=LIMIT * 3, repeatable=True
        )

    def run(self, count: int) -> None:
        for number in range(count):
            try:
                self.transfer(f"puller/{NAMESPACE}/{self.seed}-{number}")
            except Cut:
                self.tally.add("cut off")
            except (RemoteError, StorageError, OSError) as error:
                with self.tally.lock:
                    self.tally.failures.append(f"{type(error).__name__}: {error}")

    def transfer(self, holder: str) -> None:
        image = self.chance.randrange(12)
        blobs = [f"layer {image % 4} {part}".encode() * 20 for part in range(2)]
        config = f"config {image}".encode()
        digests = [digest_of(one) for one in (*blobs, config)]
        manifest = json.dumps({"layers": digests[:2], "config": digests[2]}).encode()
        root, chain = digest_of(manifest), f"chain {image % 4}"
        lease = f"sim-{hashlib.sha256(holder.encode()).hexdigest()[:12]}"
        self.ask(m.LeasesTake(NAMESPACE, lease, holder, "daemon", 1))
        try:
            self.bring(lease, holder, [*blobs, config, manifest], chain)
            self.label(lease, root, digests, chain)
            self.ask(
                m.ImagesPut(NAMESPACE, f"sim/{image}", {"mediaType": MANIFEST, "digest": root, "size": 9})
            )
            self.look(lease, [*digests, root], [chain])
            self.tally.add("pulled")
        finally:  # whoever it is that does it: the transfer itself, or the supervisor
            self.ask(m.LeasesRelease(holder, "daemon", 1, finished=self.chance.random() < 0.5))
        if self.chance.random() < 0.5:
            with contextlib.suppress(RemoteError):
                self.ask(m.ImagesDelete(NAMESPACE, f"sim/{image}"))
                self.tally.add("images deleted")

    def bring(self, lease: str, holder: str, contents: list[bytes], chain: str) -> None:
        key = f"extract {holder} {chain}"
        held = [m.LeaseResource("content", digest_of(one)) for one in contents]
        held += [m.LeaseResource(OVERLAY, chain), m.LeaseResource(OVERLAY, key)]
        self.ask(m.LeasesAddResource(NAMESPACE, lease, held))
        seen: list[str] = []
        for content in contents:
            self.maybe_cut()
            self.keep(lease, content)
            seen.append(digest_of(content))
            self.look(lease, seen, [])
        self.maybe_cut()
        self.unpack(key, chain)
        self.look(lease, seen, [chain])

    def keep(self, lease: str, content: bytes) -> None:
        digest = digest_of(content)
        ref = f"blob-{digest}"
        while True:
            try:
                found = self.ask(m.ContentOpen(ref, digest, len(content), NAMESPACE, lease))
                with IngestWriter(Path(found["path"]), limit=len(content)) as writer:
                    writer.start_at(0)
                    writer.write(content[:10])
                    self.maybe_cut()
                    writer.write(content[10:])
                    writer.finish()
                self.ask(m.ContentCommit(ref, digest, len(content), NAMESPACE, {}, lease))
            except RemoteError as error:
                if error.code == "already_exists":
                    self.tally.add("blobs found")
                    return
                if error.code not in ("not_found", "failed_precondition"):
                    raise
            except StorageError:  # another one writes it, or has made it a blob this very moment
                time.sleep(0.002)
            else:
                self.tally.add("blobs written")
                return

    def unpack(self, key: str, chain: str) -> None:
        try:
            if self.ask(m.SnapshotsStat(NAMESPACE, chain))["kind"] == "committed":
                self.tally.add("layers found")
                return
        except RemoteError as error:
            if error.code != "not_found":
                raise
        self.ask(m.SnapshotsRemove(NAMESPACE, key))
        place = self.ask(m.SnapshotsPrepare(NAMESPACE, key))
        (Path(place["upper"]) / "file").write_text(chain)
        self.maybe_cut()
        self.ask(m.SnapshotsCommit(NAMESPACE, key, chain))
        self.tally.add("layers unpacked")

    def label(self, lease: str, root: str, digests: list[str], chain: str) -> None:
        labels: dict[str, dict[str, str]] = {one: {} for one in digests[:2]}
        labels[digests[2]] = {"containerd.io/gc.ref.snapshot.overlayfs": chain}
        labels[root] = {
            "containerd.io/gc.ref.content.config": digests[2],
            "containerd.io/gc.ref.content.l.0": digests[0],
            "containerd.io/gc.ref.content.l.1": digests[1],
        }
        self.ask(m.ContentsMerge(NAMESPACE, labels, lease))

    def look(self, lease: str, digests: list[str], chains: list[str]) -> None:
        """What the lease holds and has been seen must be there, in the store and on record."""
        missing = self.ask(m.ContentMissing(digests))["missing"]
        for chain in chains:
            try:
                self.ask(m.SnapshotsStat(NAMESPACE, chain))
            except RemoteError as error:
                missing.append(f"{chain}: {error}")
        with self.tally.lock:
            self.tally.lost += [f"{lease}: {one}" for one in missing]

    def maybe_cut(self) -> None:
        if self.chance.random() < 0.03:
            raise Cut


class Collecting:
    """Collects all the time, from a thread of its own, until it is left."""

    def __init__(self, town: Town, tally: Tally) -> None:
        self._worker = Worker(town, tally, 0)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                gone = self._worker.ask(m.GcRun())
            except RemoteError as error:  # one of the actors was killed under it: the next one does it
                self._worker.tally.add(f"runs refused: {error.code}")
                continue
            self._worker.tally.add("runs")
            for kind in ("blobs", "snapshots", "ingests"):
                with self._worker.tally.lock:
                    self._worker.tally.counts[f"{kind} collected"] += gone[kind]
