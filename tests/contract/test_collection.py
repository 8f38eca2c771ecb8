"""Collection beside everything else: nothing that is held is lost, nothing that is not is left."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import threading
import time
from pathlib import Path

import pytest
from actor_town import LIMIT, Town
from collection_load import NAMESPACE, Collecting, Tally, Worker, digest_of

from actors import messages as m
from actors import snapshots
from actors.collector import CollectorActor
from actors.content import ContentActor
from actors.events import EventsActor
from actors.linux.mount_values import Mount
from actors.linux.mounts import mount_one, umount_below
from actors.metadata import MetadataActor
from actors.snapshots import SnapshotsActor
from storage.content import ContentStore, IngestWriter
from storage.digest import Digest
from storage.snapshotters.trees import delete_tree
from transport.errors import RemoteError

pytestmark = pytest.mark.root  # overlayfs's own attributes

SERVICES = (EventsActor, MetadataActor, SnapshotsActor, ContentActor, CollectorActor)
TOTAL = int(os.environ.get("ACTORD_TEST_TRANSFERS", "120"))  # CONTRIBUTING.md has the long one
THREADS = int(os.environ.get("ACTORD_TEST_AT_ONCE", "8"))
TRANSFERS, KILLS = TOTAL // THREADS, 6


@pytest.fixture
def town(tmp):
    with Town(tmp, collection_pause=1.0) as one:
        for service in SERVICES:
            one.actor(service)
        yield one


def left(town):
    """Every blob, ingest and snapshot, on disk and on record."""
    root = town.settings.root
    worker = Worker(town, Tally(), 0)
    return {
        "blobs": sorted(path.name for path in (root / "content/blobs").glob("*/*")),
        "ingests": sorted(path.name for path in (root / "content/ingest").iterdir()),
        "snapshots": sorted(path.name for path in (root / "snapshots/snapshots").iterdir()),
        "records": worker.ask(m.ContentsList())["contents"],
        "leases": worker.ask(m.LeasesList())["leases"],
        "graph": worker.ask(m.SnapshotsGraph())["snapshots"],
    }


def finish(town):
    """Take every name away, collect, and see that nothing is left."""
    worker = Worker(town, Tally(), 0)
    for image in worker.ask(m.ImagesList(NAMESPACE))["images"]:
        with contextlib.suppress(Exception):
            worker.ask(m.ImagesDelete(NAMESPACE, image["name"]))
    worker.ask(m.GcRun())
    assert left(town) == {
        kind: [] for kind in ("blobs", "ingests", "snapshots", "records", "leases", "graph")
    }


@pytest.mark.timeout(900)
def test_transfers_beside_a_collector_that_never_rests(town):
    tally = Tally()
    workers = [Worker(town, tally, seed) for seed in range(1, THREADS + 1)]
    threads = [threading.Thread(target=one.run, args=(TRANSFERS,)) for one in workers]
    with Collecting(town, tally):
        for thread in threads:
            thread.start()
        kill_now_and_then(town, tally, threads)
        for thread in threads:
            thread.join()
    print(f"{THREADS * TRANSFERS} transfers: {dict(tally.counts)}")  # noqa: T201  # with -s: the figures
    assert tally.lost == []
    assert tally.failures == []
    assert tally.counts["pulled"] + tally.counts["cut off"] == THREADS * TRANSFERS
    collected = tally.counts["blobs collected"]
    assert collected > 0 or TRANSFERS == 1, "the collector had nothing to do: this shows nothing"
    finish(town)


def kill_now_and_then(town, tally, threads):
    """SIGKILL of one actor of the five after the other, spread over the run by what it has done."""
    chance = random.Random(7)  # noqa: S311
    step = THREADS * TRANSFERS // (KILLS + 1)
    done = 0
    while any(thread.is_alive() for thread in threads):
        threads[0].join(0.05)
        town.listen()
        if tally.counts["pulled"] + tally.counts["cut off"] >= step * (done + 1) and done < KILLS:
            service = chance.choice(SERVICES)
            town.killed(service.kind)
            town.actor(service)
            tally.add(f"kills of {service.kind}")
            done += 1


def test_what_could_not_be_deleted_goes_with_a_later_run(town):
    """A mount is in the way of one of two; it keeps nobody else, and is gone by the next run."""
    worker = Worker(town, Tally(), 3)
    trash = town.settings.root / "snapshots/trash"
    upper = Path(worker.ask(m.SnapshotsPrepare(NAMESPACE, "busy"))["upper"])
    (upper / "busy").mkdir()
    worker.ask(m.SnapshotsPrepare(NAMESPACE, "free"))
    mount_one(Mount("tmpfs", "tmpfs", ()), str(upper / "busy"))
    for key in ("busy", "free"):
        worker.ask(m.SnapshotsRemove(NAMESPACE, key))
    with pytest.raises(RemoteError, match="removed snapshots remain"):
        worker.client.request("snapshots.cleanup", {}, to="snapshots", limit=2.0)  # tried until then
    assert len(list(trash.iterdir())) == 1
    umount_below(str(trash))
    worker.ask(m.GcRun())
    until = time.monotonic() + LIMIT
    while list(trash.iterdir()) and time.monotonic() < until:  # it is deleted in the background
        time.sleep(0.02)
    assert list(trash.iterdir()) == []


@pytest.fixture
def slow(tmp, monkeypatch):
    """One that deletes removed snapshots only once there is a file `go`."""

    def delete(path):
        while not (tmp / "go").exists():
            time.sleep(0.01)
        delete_tree(path)

    monkeypatch.setattr(snapshots, "delete_tree", delete)
    with Town(tmp) as one:
        one.actor(SnapshotsActor)
        yield one


def test_what_is_removed_while_others_are_deleted_has_its_turn_though_those_stay(slow, tmp):
    worker = Worker(slow, Tally(), 3)
    upper, _ = (Path(worker.ask(m.SnapshotsPrepare(NAMESPACE, key))["upper"]) for key in ("busy", "free"))
    (upper / "busy").mkdir()
    mount_one(Mount("tmpfs", "tmpfs", ()), str(upper / "busy"))
    for key in ("busy", "free"):
        worker.ask(m.SnapshotsRemove(NAMESPACE, key))
    assert worker.ask(m.SnapshotsCheck())["orphans"] == [], "what is on its way out is no orphan"
    threading.Timer(0.3, (tmp / "go").touch).start()  # by then somebody waits for all of it
    with pytest.raises(RemoteError, match="removed snapshots remain"):
        worker.client.request("snapshots.cleanup", {}, to="snapshots")
    left = list((slow.settings.root / "snapshots/trash").iterdir())
    assert worker.ask(m.SnapshotsCheck())["orphans"] == [str(path) for path in left]
    umount_below(str(left[0]))
    worker.client.request("snapshots.cleanup", {}, to="snapshots")
    assert len(left) == 1
    assert not left[0].exists()


def test_what_was_interrupted_goes_with_the_next_run(town):
    worker = Worker(town, Tally(), 3)
    worker.maybe_cut = lambda: None
    content = b"never finished"
    digest = "sha256:" + "1" * 64
    worker.ask(m.LeasesTake(NAMESPACE, "l", "puller/load/x", "daemon", 1))
    worker.ask(m.ContentOpen(f"blob-{digest}", digest, 99, NAMESPACE, "l"))
    worker.keep("l", content)
    worker.ask(m.GcRun())
    assert len(left(town)["blobs"]) == len(left(town)["ingests"]) == 1, "a lease holds them"
    worker.ask(m.LeasesRelease("puller/load/x", "daemon", 1))
    finish(town)


def test_what_went_down_with_the_daemon_waits_for_whoever_goes_on(town):
    worker = Worker(town, Tally(), 3)
    worker.maybe_cut = lambda: None
    digest = "sha256:" + "1" * 64
    worker.ask(m.LeasesTake(NAMESPACE, "l", "puller/load/x", "daemon", 1))
    worker.ask(m.ContentOpen(f"blob-{digest}", digest, 99, NAMESPACE, "l"))
    worker.ask(m.LeasesRelease("puller/load/x", "daemon", 1, resumable=True))
    worker.ask(m.GcRun())
    assert len(left(town)["ingests"]) == 1
    (lease,) = worker.ask(m.LeasesList(NAMESPACE))["leases"]
    assert lease["expires_at"]
    worker.ask(m.LeasesTake(NAMESPACE, "l", "puller/load/x", "another daemon", 1))
    (lease,) = worker.ask(m.LeasesList(NAMESPACE))["leases"]
    assert (lease["holder"], lease["expires_at"]) == ("puller/load/x", None)
    worker.ask(m.LeasesRelease("puller/load/x", "another daemon", 1))
    finish(town)


def test_a_container_holds_its_image_and_its_snapshot(town):
    worker = Worker(town, Tally(), 3)
    worker.maybe_cut = lambda: None
    worker.chance.random = lambda: 0.9  # it does not remove its image
    worker.transfer("puller/load/x")
    image = worker.ask(m.ImagesList(NAMESPACE))["images"][0]
    before = left(town)
    create = m.ContainersCreate(NAMESPACE, image["name"], id="c1")
    with contextlib.suppress(Exception):  # there is no supervisor here to start its actor
        worker.client.request(
            "containers.create",
            {"namespace": NAMESPACE, "image": image["name"], "id": "c1"},
            to="metadata",
            limit=2.0,
        )
    assert create.id == "c1"
    chain = worker.ask(m.SnapshotsGraph())["snapshots"][0]["key"]
    worker.ask(m.SnapshotsPrepare(NAMESPACE, "c1", chain))
    worker.ask(m.ImagesDelete(NAMESPACE, image["name"], force=True))
    worker.ask(m.GcRun())
    assert left(town)["blobs"] == before["blobs"]
    assert [one["key"] for one in left(town)["graph"]] == [chain, "c1"]
    worker.ask(m.ContainersForget(NAMESPACE, "c1"))
    finish(town)


def test_a_blob_that_was_not_recorded_before_a_kill_is_no_stray(town):
    """Killed when the blob is in its place and metadata has not heard of it; then comes a sweep."""
    worker = Worker(town, Tally(), 3)
    content = b"of no known digest"
    commit = m.ContentCommit("r", digest_of(content), len(content), NAMESPACE, {}, "l")
    worker.ask(m.LeasesTake(NAMESPACE, "l", "puller/load/x", "daemon", 1))
    found = worker.ask(m.ContentOpen("r", namespace=NAMESPACE, lease="l"))
    with IngestWriter(Path(found["path"]), limit=99) as writer:
        writer.write(content)
        writer.finish()
    town.killed("metadata")
    with contextlib.suppress(RemoteError):
        worker.client.request("content.commit", dataclasses.asdict(commit), to="content", limit=1.0)
    blobs = town.settings.content / "blobs"
    until = time.monotonic() + LIMIT
    while not list(blobs.glob("*/*")) and time.monotonic() < until:  # the disk may be slow
        time.sleep(0.02)
    assert [path.read_bytes() for path in blobs.glob("*/*")] == [content]
    town.killed("content")
    town.actor(MetadataActor)
    town.actor(ContentActor)
    worker.ask(m.GcRun())
    assert worker.ask(commit)["digest"] == commit.digest
    assert left(town)["ingests"] == []
    worker.ask(m.LeasesRelease("puller/load/x", "daemon", 1))
    finish(town)


def test_a_commit_that_was_cut_off_is_over_when_its_blob_is_asked_for_again(town):
    """The blob is in its place, not on record, and its ingest says so; opening it again puts it on record."""
    content = b"of a known digest"
    worker = Worker(town, Tally(), 3)
    worker.ask(m.LeasesTake(NAMESPACE, "l", "puller/load/x", "daemon", 1))  # else it may be collected at once
    wish = m.ContentOpen("r", digest_of(content), len(content), NAMESPACE, "l")
    with IngestWriter(Path(worker.ask(wish)["path"]), limit=99) as writer:
        writer.write(content)
        writer.finish()
    assert left(town)["records"] == []
    ContentStore(town.settings.content).commit(f"{NAMESPACE}/r", Digest.parse(digest_of(content)), keep=True)
    with pytest.raises(RemoteError, match="exists already"):
        worker.ask(wish)
    worker.ask(m.GcRun())  # as the collector may of itself, at any moment
    assert left(town)["ingests"] == []
    assert [one["digest"] for one in left(town)["records"]] == [digest_of(content)]
    worker.ask(m.LeasesRelease("puller/load/x", "daemon", 1))
    finish(town)


def test_a_committed_blob_goes_with_its_ingest_when_nobody_comes_back(town):
    content = b"never recorded"
    worker = Worker(town, Tally(), 3)
    worker.ask(m.LeasesTake(NAMESPACE, "l", "puller/load/x", "daemon", 1))
    found = worker.ask(m.ContentOpen("r", namespace=NAMESPACE, lease="l"))
    with IngestWriter(Path(found["path"]), limit=99) as writer:
        writer.write(content)
        writer.finish()
    ContentStore(town.settings.content).commit(f"{NAMESPACE}/r", Digest.parse(digest_of(content)), keep=True)
    worker.ask(m.GcRun())
    assert len(left(town)["blobs"]) == len(left(town)["ingests"]) == 1
    worker.ask(m.LeasesRelease("puller/load/x", "daemon", 1))
    finish(town)


def test_a_flat_lease_holds_only_what_it_names(town):
    worker = Worker(town, Tally(), 3)
    worker.maybe_cut = lambda: None
    worker.ask(m.LeasesTake(NAMESPACE, "own", "puller/load/x", "daemon", 1))
    worker.keep("own", b"parent")
    worker.keep("own", b"child")
    blobs = worker.ask(m.ContentList(NAMESPACE))["blobs"]
    parent, child = (next(one["digest"] for one in blobs if one["size"] == size) for size in (6, 5))
    worker.ask(m.ContentsMerge(NAMESPACE, {parent: {"containerd.io/gc.ref.content": child}}))
    for name, labels in (("flat", {"containerd.io/gc.flat": "yes"}), ("deep", {})):
        worker.client.request(
            "leases.create", {"namespace": NAMESPACE, "id": name, "labels": labels}, to="metadata"
        )
        worker.ask(m.LeasesAddResource(NAMESPACE, name, [m.LeaseResource("content", parent)]))
    worker.ask(m.LeasesRelease("puller/load/x", "daemon", 1))
    worker.ask(m.GcRun())
    assert len(left(town)["blobs"]) == 2
    worker.ask(m.LeasesDelete(NAMESPACE, "deep", sync=True))
    assert left(town)["blobs"] == [parent.removeprefix("sha256:")]
    worker.ask(m.LeasesDelete(NAMESPACE, "flat", sync=True))
    finish(town)
