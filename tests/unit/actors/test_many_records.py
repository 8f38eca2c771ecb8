"""What looks through everything there is: tens of thousands of records, and where that ends."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from actor_town import LIMIT, Town

from actors.events import EventsActor
from actors.metadata import MetadataActor
from actors.snapshots import SnapshotsActor
from storage.metadata import Metadata
from storage.snapshotters.overlay import OverlaySnapshotter
from storage.snapshotters.trees import measure
from transport.errors import RemoteError

LAYERS = """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
    INSERT INTO snapshots (id, namespace, key, parent, kind, labels, created_at, updated_at, inodes, size)
    SELECT i, 'default', printf('sha256:%064x', i), nullif(i - 1, 0), 'committed', '{}', 1, 1, 1, 1 FROM n"""
BLOBS = """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
    INSERT INTO content_labels (namespace, digest, labels)
    SELECT 'default', printf('sha256:%064x', i), '{}' FROM n"""


def filled(database, sql, count):
    """In one statement; the owner would take minutes."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute(sql, (count,))


@pytest.fixture
def town(tmp):
    with Town(tmp) as town:
        yield town


def wait_for(path):
    end = time.monotonic() + 2 * LIMIT
    while not path.exists():
        assert time.monotonic() < end, path
        time.sleep(0.01)


def with_layers(town, count):
    """A chain of layers, without their directories."""
    place = town.settings.root / "snapshots"
    OverlaySnapshotter(place, sync=lambda _: None).close()
    filled(place / "metadata.db", LAYERS, count)
    town.actor(SnapshotsActor)
    return town.client()


def test_fifty_thousand_layers_are_looked_through_at_once(town):
    client = with_layers(town, 50_000)
    town.actor(EventsActor)
    town.actor(MetadataActor)
    graph = client.request("snapshots.graph", {}, to="snapshots", limit=LIMIT)["snapshots"]
    found = client.request("collection.sweep", {"snapshots": graph}, to="metadata", limit=LIMIT)
    assert len(found["snapshots"]) == 50_000


def test_more_than_a_message_has_room_for_are_refused_and_said_to_be(town):
    client = with_layers(town, 90_000)
    with pytest.raises(
        RemoteError, match=r"90000 snapshots have more names and labels than .* remove images"
    ):
        client.request("snapshots.graph", {}, to="snapshots", limit=LIMIT)


def test_a_check_has_no_need_of_all_blobs_in_one_answer(town):
    store = Metadata(town.settings.root / "metadata.db")
    store.namespaces.create("default")
    store.close()
    filled(town.settings.root / "metadata.db", BLOBS, 250_000)
    town.actor(EventsActor)
    town.actor(MetadataActor)
    assert town.client().request("metadata.check", {}, to="metadata", limit=LIMIT) == {"problems": []}


@pytest.mark.parametrize(
    ("op", "body"), [("usages", {}), ("usage", {"namespace": "default", "key": "large"})], ids=["all", "one"]
)
def test_nobody_waits_while_large_roots_are_measured(town, monkeypatch, op, body):
    """Millions of files take minutes: no container could start, and the actor would be taken for hung."""
    began, go = town.settings.state / "began", town.settings.state / "go"

    def slowly(path):
        began.touch()
        wait_for(go)
        return measure(path)

    monkeypatch.setattr("storage.snapshotters.directory.measure", slowly)
    town.actor(SnapshotsActor)

    def ask(name, given, limit=LIMIT):
        return town.client().request(f"snapshots.{name}", given, to="snapshots", limit=limit)

    ask("prepare", {"namespace": "default", "key": "large"})
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, op, body)
        try:
            wait_for(began)
            for number in range(3):
                ask("prepare", {"namespace": "default", "key": f"next-{number}"}, limit=LIMIT / 2)
        finally:
            go.touch()
        found = asked.result(LIMIT)
    [one] = found["usages"] if op == "usages" else [found]
    assert (one["inodes"], one.get("key", "large")) == (1, "large")
