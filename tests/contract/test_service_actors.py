"""What each service actor promises about its operations, asked through a real router.

Operations that are declared repeatable give the same answer twice; what has been answered is still so
after SIGKILL and a restart.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
from actor_town import LIMIT, Town

from actors import messages as m
from actors.actor import Actor
from actors.content import ContentActor
from actors.events import EventsActor
from actors.linux import netns
from actors.metadata import MetadataActor
from actors.network import NetworkActor
from actors.paging import everything
from actors.snapshots import SnapshotsActor
from storage.content import IngestWriter
from transport.errors import ProtocolError, RemoteError

pytestmark = pytest.mark.root  # network namespaces

DIGEST = "sha256:" + "a" * 64
TARGET = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": DIGEST, "size": 7}


class Supervisor(Actor):
    """In the place of the real one: every child runs already."""

    kind = "supervisor"

    def children_start(self, body, _):
        return {"actor": body.name}


@pytest.fixture
def town(tmp):
    with Town(tmp) as one:
        yield one


class Asker:
    """Sends a body to the owner of its operation, twice where it may be repeated, and compares."""

    def __init__(self, town: Town, *services: type[Actor]) -> None:
        self.town = town
        self.services = services
        for one in services:
            town.actor(one)
        self.client = town.client()

    def once(self, body):
        operation = m.operation_of(body)
        fields = dataclasses.asdict(body)
        return self.client.request(operation.name, fields, to=operation.owner, limit=LIMIT, repeatable=True)

    def __call__(self, body):
        answer = self.once(body)
        if m.operation_of(body).repeatable:
            again = self.once(body)
            assert undated(again) == undated(answer), f"{body} answered otherwise the second time"
        return answer

    def refused(self, body):
        with pytest.raises(RemoteError) as caught:
            self.once(body)
        return caught.value.code

    def restart(self):
        """SIGKILL everything but the router, start it again."""
        for one in self.services:
            self.town.killed(one.kind)
            self.town.actor(one)

    def survives(self, *bodies):
        """The answers of these are the same after a crash."""
        before = [self.once(body) for body in bodies]
        self.restart()
        assert [self.once(body) for body in bodies] == before

    def events(self, credit=100, **wish):
        return self.client.stream("events.subscribe", dict(wish), to="events", credit=credit, patience=0.0)


def undated(answer):
    return {key: value for key, value in answer.items() if key not in ("updated_at", "new")}


# Metadata


@pytest.fixture
def metadata(town):
    return Asker(town, MetadataActor, Supervisor, EventsActor)


def test_images(metadata):
    name = "docker.io/library/x:latest"
    put = metadata(m.ImagesPut("default", "x", TARGET, {"k": "v"}))
    assert (put["name"], put["target"], put["labels"]) == (name, TARGET, {"k": "v"})
    assert metadata(m.ImagesGet("default", "x:latest")) == metadata(m.ImagesGet("default", name))
    assert [one["name"] for one in metadata(m.ImagesList("default"))["images"]] == [name]
    assert metadata(m.ImagesList("other")) == {"images": []}
    assert metadata.refused(m.ImagesGet("other", "x")) == "not_found"
    assert metadata.refused(m.ImagesGet("default", "UPPER/case")) == "invalid_argument"
    assert metadata.refused(m.ImagesPut("default", "x", {})) == "invalid_argument"
    assert metadata.refused(m.ImagesCreate("default", name, TARGET)) == "already_exists"
    assert metadata.refused(m.ImagesCreate("default", "y", {})) == "invalid_argument"
    metadata.survives(m.ImagesGet("default", "x"), m.ImagesList("default"), m.NamespacesList())
    assert metadata(m.ImagesDelete("default", "x"))["name"] == name
    assert metadata.refused(m.ImagesDelete("default", "x")) == "not_found"
    topics = [one.body["topic"] for one in metadata.events() if one.kind == "event"]
    assert topics.count("/images/create") == 1
    assert topics[-1] == "/images/delete"


def test_a_list_that_no_message_holds_comes_in_pages(metadata):
    labels = {f"key {number}": "x" * 4000 for number in range(1000)}
    names = [f"name {number}" for number in range(6)]
    for name in names:
        metadata.once(m.ImagesCreate("default", name, TARGET, labels))
        metadata.once(m.ContentsPut("default", f"sha256:{name}", labels))
        metadata.once(m.ContentsPut("other", f"sha256:{name}"))
    with pytest.raises(ProtocolError, match="larger than"):
        metadata.once(m.ImagesList("default"))
    assert [one["name"] for one in everything(metadata, m.ImagesList("default"), "images")] == names
    known = everything(metadata, m.ContentsList("default"), "contents")
    assert [one["digest"] for one in known] == [f"sha256:{name}" for name in names]
    every = everything(metadata, m.ContentsList(), "contents")
    found = [(one["namespace"], one["digest"]) for one in every]
    assert found == [(space, f"sha256:{name}") for space in ("default", "other") for name in names]
    assert everything(metadata, m.ImagesList("nowhere"), "images") == []


def test_leases_that_no_message_holds_come_in_pages(metadata):
    labels = {f"key {number}": "x" * 4000 for number in range(1000)}
    names = [f"/mnt/{number}" for number in range(6)]
    for name in names:
        metadata.once(m.LeasesCreate("default", name, labels))
    with pytest.raises(ProtocolError, match="larger than"):
        metadata.once(m.LeasesList())
    assert [one["id"] for one in everything(metadata, m.LeasesList(), "leases")] == names
    filtered = everything(metadata, m.LeasesList("default", ["id==/mnt/5"]), "leases")
    assert [one["id"] for one in filtered] == names[5:]


def test_snapshots_that_no_message_holds_come_in_pages(town):
    snapshots = Asker(town, SnapshotsActor)
    labels = {f"key {number}": "x" * 4000 for number in range(1000)}
    keys = [f"z{9 - number}" for number in range(6)]
    for key in keys:
        snapshots.once(m.SnapshotsPrepare("default", key, labels=labels))
        snapshots.once(m.SnapshotsPrepare("other", key))
    with pytest.raises(ProtocolError, match="larger than"):
        snapshots.once(m.SnapshotsList("default"))
    found = everything(snapshots, m.SnapshotsList("default"), "snapshots")
    assert [(one["namespace"], one["key"]) for one in found] == [("default", key) for key in keys]
    for wrong in ("z9", "-1", "9" * 40):
        assert snapshots.refused(m.SnapshotsList("default", page=True, after=wrong)) == "invalid_argument"


def test_containers(metadata):
    metadata(m.ImagesPut("default", "x", TARGET))
    create = m.ContainersCreate(
        "default", "x", id="abc1", name="web", options={"args": ["a"]}, wanted="running"
    )
    made = metadata(create)
    assert made == {"id": "abc1", "name": "web", "actor": "container/default/abc1"}
    assert metadata.refused(create) == "already_exists"
    assert metadata.refused(m.ContainersCreate("default", "y")) == "not_found"
    assert metadata.refused(m.ContainersCreate("default", "x", id="../..")) == "invalid_argument"
    found = metadata(m.ContainersGet("default", "web"))
    assert (found["id"], found["wanted"], found["task"], found["image_digest"]) == (
        "abc1",
        "running",
        None,
        DIGEST,
    )
    assert metadata(m.ContainersGet("default", "abc"))["id"] == "abc1"
    assert metadata.refused(m.ImagesDelete("default", "x")) == "failed_precondition"
    assert metadata(m.ContainersWant("default", "abc1", "removed"))["wanted"] == "removed"
    assert metadata.refused(m.ContainersWant("default", "nobody", "removed")) == "not_found"
    assert metadata.refused(m.ContainersWant("default", "abc1", "eaten")) == "invalid_argument"
    metadata.survives(m.ContainersGet("default", "abc1"), m.ContainersList(), m.ContainersList("default"))
    metadata(m.ContainersForget("default", "abc1"))
    assert metadata(m.ContainersList()) == {"containers": []}
    assert metadata.refused(m.ContainersGet("default", "abc1")) == "not_found"


def test_a_brief_list_has_room_for_those_whose_whole_records_have_none(metadata):
    """Clients of containerd's API record a specification of 30 kB for each; an answer has 16 MiB."""
    metadata(m.ImagesPut("default", "x", TARGET))
    foreign = {"spec": {"type_url": "x", "value": "y" * 950_000}}
    for number in range(20):
        image, options = ("", {"foreign": foreign}) if number else ("x", {"args": ["a"], "env": ["A=b"]})
        metadata(m.ContainersCreate("default", image, id=f"c{number}", options=options, labels={"k": "v"}))
    with pytest.raises(ProtocolError, match="is larger than"):
        metadata(m.ContainersList())
    in_pages = everything(metadata, m.ContainersList(), "containers")
    assert in_pages == [metadata(m.ContainersGet("default", one["id"])) for one in in_pages]
    assert {one["id"] for one in in_pages} == {f"c{number}" for number in range(20)}
    found = {one["id"]: one for one in metadata(m.ContainersList(brief=True))["containers"]}
    assert len(found) == 20
    for number, options in enumerate(({"args": ["a"]}, {"foreign": True})):
        whole = metadata(m.ContainersGet("default", f"c{number}"))
        assert found[f"c{number}"] == {**whole, "options": options, "labels": {}}


def test_tasks(metadata):
    metadata(m.ImagesPut("default", "x", TARGET))
    metadata(m.ContainersCreate("default", "x", id="abc1"))
    metadata(m.TasksRecord("default", "abc1", 5, "running", pid=7, started_at=1))
    metadata(m.TasksRecord("default", "abc1", 6, "stopped", exit_code=3, exited_at=2))
    metadata(m.TasksRecord("default", "abc1", 5, "running", pid=7))  # late
    task = metadata(m.ContainersGet("default", "abc1"))["task"]
    assert (task["status"], task["exit_code"], task["exited_at"]) == ("stopped", 3, 2)
    assert metadata.refused(m.TasksRecord("default", "abc1", 7, "flying")) == "invalid_argument"
    assert metadata.refused(m.TasksRecord("default", "nobody", 7, "running")) == "not_found"
    metadata.survives(m.ContainersGet("default", "abc1"))


# Content


def test_content(town):
    content = Asker(town, MetadataActor, ContentActor)
    data = b"some bytes"
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    opened = content(m.ContentOpen("ref", digest, len(data)))
    assert opened["offset"] == 0
    with IngestWriter(Path(opened["path"]), limit=len(data)) as writer:
        writer.start_at(0)
        writer.write(data)
        writer.finish()
    blob = content(m.ContentCommit("ref", digest, len(data)))
    assert Path(blob["path"]).read_bytes() == data
    assert content(m.ContentInfo(digest, "default")) == blob
    assert content(m.ContentList("default")) == {"blobs": [blob]}
    assert content.refused(m.ContentOpen("again", digest, len(data))) == "already_exists"
    assert content.refused(m.ContentInfo(DIGEST)) == "not_found"
    assert content.refused(m.ContentInfo("sha256:xyz")) == "invalid_argument"
    assert content.refused(m.ContentCommit("nothing", DIGEST, 1)) == "not_found"
    content.survives(m.ContentInfo(digest), m.ContentList())
    content(m.ContentDelete(digest))
    content(m.ContentDelete("blake3:" + "a" * 64))  # of which there can be none
    assert content(m.ContentList()) == {"blobs": []}


@pytest.fixture
def blob(town):
    """Of 3 MB, by its digest, and somebody who asks."""
    content, data = Asker(town, MetadataActor, ContentActor), bytes(range(250)) * 12_000
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    opened = content(m.ContentOpen("ref", digest, len(data)))
    with IngestWriter(Path(opened["path"]), limit=len(data)) as writer:
        writer.write(data)
        writer.finish()
    content(m.ContentCommit("ref", digest, len(data)))
    return content, digest, data


def read(client, digest, credit=1 << 20, **wish):
    """The bytes, and the answer."""
    found = list(
        client.stream(
            "content.read", {"digest": digest, **wish}, to="content", credit=credit, patience=0, silence=20
        )
    )
    position = wish.get("offset", 0)
    for part in found[:-1]:
        assert part.body == {"offset": position}
        position += sum(map(len, part.buffers))
    return b"".join(b"".join(part.buffers) for part in found), found[-1].body


def test_a_blob_is_read_in_pieces_as_far_as_credit_goes(blob):
    content, digest, data = blob
    assert read(content.client, digest) == (data, {"size": len(data)})
    assert read(content.client, digest, credit=1)[0] == data
    assert read(content.client, digest, offset=700_000, end=1_400_000)[0] == data[700_000:1_400_000]
    assert read(content.client, digest, offset=len(data))[0] == b""
    refused = [
        ({"offset": len(data) + 1}, "make no range"),
        ({"offset": 5, "end": 4}, "make no range"),
        ({"end": len(data) + 1}, "make no range"),
        ({"credit": (16 << 20) + 1}, "give less at once"),
    ]
    for wish, text in refused:
        with pytest.raises(RemoteError, match=text):
            read(content.client, digest, **wish)
    with pytest.raises(RemoteError, match="does not exist"):
        read(content.client, DIGEST)


def test_readers_are_bounded_and_one_who_leaves_makes_room(blob, town):
    content, digest, data = blob
    wish = {"digest": digest}
    lazy = [
        town.client().stream("content.read", wish, to="content", credit=1, patience=0, silence=20)
        for _ in range(32)
    ]
    for one in lazy:
        assert next(one).body == {"offset": 0}
    with pytest.raises(RemoteError, match="are being read already"):
        read(content.client, digest)
    content(m.ContentInfo(digest))
    for one in lazy:
        one.close()
    assert content.client.request("content.missing", {"digests": [digest]}, to="content") == {"missing": []}
    assert read(content.client, digest)[0] == data


def test_an_ingest_goes_on_where_it_was_after_a_crash(town):
    content = Asker(town, MetadataActor, ContentActor)
    opened = content(m.ContentOpen("ref", DIGEST, 10))
    with IngestWriter(Path(opened["path"]), limit=10) as writer:
        writer.start_at(0)
        writer.write(b"12345")
    assert content(m.ContentOpen("ref", DIGEST, 10))["offset"] == 5
    content.survives(m.ContentOpen("ref", DIGEST, 10))


# Snapshots


def test_snapshots(town):
    snapshots = Asker(town, SnapshotsActor)
    made = snapshots(m.SnapshotsPrepare("default", "key"))
    assert snapshots.once(m.SnapshotsPrepare("default", "key")) == made
    (Path(made["upper"]) / "file").write_text("x")
    assert snapshots.refused(m.SnapshotsPrepare("default", "other", "no such parent")) == "not_found"
    snapshots(m.SnapshotsCommit("default", "key", "layer"))
    assert snapshots(m.SnapshotsStat("default", "layer"))["kind"] == "committed"
    assert snapshots.refused(m.SnapshotsPrepare("default", "layer")) == "already_exists"
    assert snapshots.refused(m.SnapshotsMounts("default", "nothing")) == "not_found"
    assert snapshots.refused(m.SnapshotsCommit("default", "nothing", "neither")) == "not_found"
    child = snapshots(m.SnapshotsPrepare("default", "child", "layer"))
    assert (Path(child["lowers"][0]) / "file").read_text() == "x"
    assert snapshots(m.SnapshotsMounts("default", "child")) == child
    assert snapshots.refused(m.SnapshotsRemove("default", "layer")) == "failed_precondition"
    listed = (
        m.SnapshotsList("default"),
        m.SnapshotsStat("default", "child"),
        m.SnapshotsMounts("default", "child"),
    )
    snapshots.survives(*listed)
    for key in ("child", "layer"):
        snapshots(m.SnapshotsRemove("default", key))
    assert snapshots(m.SnapshotsList("default")) == {"snapshots": []}


@pytest.mark.parametrize("view", [False, True])
def test_one_that_is_to_be_new_is_refused_where_there_is_one(town, view):
    """Of two clients who ask for the same key, one would have its writable root in the other's."""
    snapshots = Asker(town, SnapshotsActor)
    made = snapshots.once(m.SnapshotsCreate("default", "key", view=view))
    assert snapshots(m.SnapshotsMounts("default", "key")) == made
    assert snapshots(m.SnapshotsStat("default", "key"))["kind"] == ("view" if view else "active")
    for other in (view, not view):
        assert snapshots.refused(m.SnapshotsCreate("default", "key", view=other)) == "already_exists"
    assert snapshots.refused(m.SnapshotsCreate("default", "a", "no such parent")) == "not_found"


def test_two_who_unpack_the_same_layer(town):
    snapshots = Asker(town, SnapshotsActor)
    for key in ("one", "two"):
        snapshots(m.SnapshotsPrepare("default", key))
        snapshots(m.SnapshotsCommit("default", key, "layer"))
    assert [one["key"] for one in snapshots(m.SnapshotsList("default"))["snapshots"]] == ["layer"]


@pytest.mark.parametrize("name", ["overlayfs", "native"])
def test_every_operation_of_a_snapshotter(town, name):
    snapshots = Asker(town, SnapshotsActor)
    work = snapshots(m.SnapshotsPrepare("default", "work", labels={"a": "1", "b": "2"}, snapshotter=name))
    (Path(work["upper"]) / "file").write_text("x" * 5000)
    changed = m.SnapshotsUpdate("default", "work", {"a": "3"}, ["labels.a", "labels.b"], name)
    assert snapshots(changed)["labels"] == {"a": "3"}
    refused = m.SnapshotsUpdate("default", "work", {}, ["parent"], name)
    assert snapshots.refused(refused) == "invalid_argument"
    kept = {"containerd.io/snapshot/k": "v"}
    snapshots(m.SnapshotsUpdate("default", "work", {**kept, "gone": "at commit"}, snapshotter=name))
    assert snapshots.refused(m.SnapshotsLayers("default", "work", name)) == "failed_precondition"
    snapshots(m.SnapshotsCommit("default", "work", "base", {"own": "1"}, snapshotter=name))
    assert snapshots(m.SnapshotsStat("default", "base", name))["labels"] == {**kept, "own": "1"}
    usage = snapshots(m.SnapshotsUsage("default", "base", name))
    assert usage["inodes"] == 2
    assert usage["size"] >= 5000
    assert len(snapshots(m.SnapshotsLayers("default", "base", name))["layers"]) == 1
    view = snapshots(m.SnapshotsView("default", "view", "base", snapshotter=name))
    assert view == snapshots(m.SnapshotsMounts("default", "view", name))
    assert "ro" in view["mounts"][0]["options"]
    other = {"overlayfs": "native", "native": "overlayfs"}[name]
    assert snapshots.refused(m.SnapshotsStat("default", "base", other)) == "not_found"
    snapshots.survives(m.SnapshotsList("default", name), m.SnapshotsUsage("default", "base", name))
    for key in ("view", "base"):
        snapshots(m.SnapshotsRemove("default", key, name))
    snapshots(m.SnapshotsCleanup(name))
    assert not Path(work["upper"]).exists()


def test_a_snapshotter_that_does_not_exist(town):
    snapshots = Asker(town, SnapshotsActor)
    assert snapshots.refused(m.SnapshotsStat("default", "k", "zfs")) == "invalid_argument"


def test_a_layer_is_put_on_its_parent_when_it_is_committed(town):
    snapshots = Asker(town, SnapshotsActor)
    for key in ("upper", "base"):  # the upper one is ready first
        made = snapshots(m.SnapshotsPrepare("default", key))
        (Path(made["upper"]) / key).write_text("x")
    early = m.SnapshotsCommit("default", "upper", "top", parent="bottom")
    assert snapshots.refused(early) == "not_found"
    snapshots(m.SnapshotsCommit("default", "base", "bottom"))
    snapshots(early)
    listed = snapshots(m.SnapshotsList("default"))["snapshots"]
    assert [(one["key"], one["parent"]) for one in listed] == [("bottom", ""), ("top", "bottom")]
    layers = snapshots(m.SnapshotsLayers("default", "top"))["layers"]
    assert [[path.name for path in Path(one).iterdir()] for one in layers] == [["upper"], ["base"]]


# Network


def test_network(town):
    network = Asker(town, NetworkActor)
    path = Path(network(m.NetworkAttach("default", "abc"))["path"])
    inode = path.stat().st_ino
    assert netns.exists(path)
    network.survives(m.NetworkAttach("default", "abc"))
    assert path.stat().st_ino == inode
    network(m.NetworkDetach("default", "abc"))
    assert not path.exists()
    for namespace, container in (("../..", "x"), ("x", "../../x"), ("x", "/etc/x"), ("", "x"), ("x", "a\0b")):
        assert network.refused(m.NetworkAttach(namespace, container)) == "invalid_argument"
        assert network.refused(m.NetworkDetach(namespace, container)) == "invalid_argument"


# Events


@pytest.fixture
def events(tmp):
    with Town(tmp, events_keep=1500) as town:
        yield Asker(town, EventsActor)


def publish(events, number, topic="/tasks/exit", namespace="default", **body):
    return events(m.EventsPublish(namespace, topic, f"key {number}", {"n": number, **body}, number * 10))


def numbers(stream):
    return [one.body["body"]["n"] for one in stream if one.kind == "event"]


def test_events_happen_once_and_in_order(events):
    for number in (1, 2, 3):
        assert publish(events, number)["seq"] == number
    found = list(events.events())
    assert [one.seq for one in found[:-1]] == [1, 2, 3]
    assert found[-1].body["last"] == 3
    assert found[0].body == {
        "seq": 1,
        "namespace": "default",
        "topic": "/tasks/exit",
        "at": 10,
        "body": {"n": 1},
    }
    events.restart()
    assert publish(events, 3) == {"seq": 3, "new": False}
    assert list(events.events())[-1].body == found[-1].body


def test_filters(events):
    publish(events, 1, container_id="abc")
    publish(events, 2, topic="/images/create", namespace="other")
    publish(events, 3, topic="/tasks/start", id="abc")
    publish(events, 4, topic="/tasks/start", id="xyz")
    for wish, expected in (
        ({"after": 2}, [3, 4]),
        ({"after": 99}, []),
        ({"since": 30}, [3, 4]),
        ({"topic": "/tasks"}, [1, 3, 4]),
        ({"topic": "/tasks/start"}, [3, 4]),
        ({"namespace": "other"}, [2]),
        ({"container_id": "abc"}, [1, 3]),
        ({"container_id": "abc", "after": 1, "topic": "/tasks"}, [3]),
    ):
        assert numbers(events.events(**wish)) == expected, wish


def test_credit_decides_the_pace_and_the_end(events):
    for number in range(1, 31):
        publish(events, number)
    assert numbers(events.events(credit=30, follow=False, after=0, topic="/none")) == []
    stream = events.events(credit=5)
    assert [next(stream).body["body"]["n"] for _ in range(5)] == [1, 2, 3, 4, 5]
    with pytest.raises(RemoteError, match="more events than credit") as caught:
        next(stream)
    assert caught.value.code == "overloaded"


def test_followers_hear_what_is_to_come(events):
    publish(events, 1)
    follower = Asker(events.town)
    stream = follower.events(credit=2, follow=True)
    heard = [next(stream).body["body"]["n"]]
    for number in range(2, 12):
        publish(events, number)
        heard.append(next(stream).body["body"]["n"])
    assert heard == list(range(1, 12))
    stream.close()


def test_a_follower_goes_on_after_a_crash(events):
    publish(events, 1)
    follower = Asker(events.town)
    wish = {"follow": True, "after": 0}
    stream = follower.client.stream(
        "events.subscribe", wish, to="events", resume=lambda: {**wish, "after": 1}, credit=10
    )
    assert next(stream).seq == 1
    events.town.killed("events")
    events.town.client().request("router.ping", {}, to="router")
    events.town.actor(EventsActor)
    publish(events, 2)
    assert next(stream).seq == 2
    stream.close()


def test_what_was_trimmed_is_marked_by_a_gap(events):
    for number in range(1, 2001):
        events.once(m.EventsPublish("default", "/t", f"{number}", {"n": number}, number))
    stream = events.events(credit=5000, after=100)
    first = next(stream)
    assert (first.body, first.seq) == ({"gap": 400}, 500)
    assert numbers(stream) == list(range(501, 2001))
