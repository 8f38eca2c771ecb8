"""The volumes actor in its process: what it refuses is an answer, and not its end."""

from __future__ import annotations

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from actor_town import LIMIT, Town

from actors.actor import Actor
from actors.bundles import own_volume
from actors.volumes import VolumesActor
from storage.names import check_identifier
from storage.snapshotters.trees import delete_tree
from transport.errors import RemoteError


class Metadata(Actor):
    """Of which it asks who uses what."""

    kind = "metadata"

    def containers_list(self, _body, _call):
        return {"containers": []}


@pytest.mark.parametrize(("namespace", "name"), [("default", "."), ("default", ""), ("..", "data")])
def test_a_name_that_is_none_is_refused_when_it_is_to_be_removed(tmp, namespace, name):
    with Town(tmp) as town:
        volumes = town.actor(VolumesActor)
        town.actor(Metadata)
        client = town.client()
        with pytest.raises(RemoteError, match="is not valid") as caught:
            client.request(
                "volumes.remove", {"namespace": namespace, "name": name}, to="volumes", limit=LIMIT
            )
        assert caught.value.code == "invalid_argument"
        assert client.request("volumes.list", {"namespace": ""}, to="volumes", limit=LIMIT) == {"volumes": []}
        assert [one["op"] for one in volumes.said] == ["ready"]


@pytest.fixture
def town(tmp):
    with Town(tmp) as town:
        town.actor(VolumesActor)
        town.actor(Metadata)
        yield town


def ask(town, op, **body):
    return town.client().request(f"volumes.{op}", {"namespace": "ns", **body}, to="volumes", limit=LIMIT)


def wait_until(what, condition):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"not within {LIMIT} s: {what}"
        time.sleep(0.02)


def left(town):
    """What is still on the disk of volumes that are removed."""
    return [path for path in (town.settings.root / "volumes").glob("*/*") if path.name.startswith(".")]


@pytest.mark.root
def test_what_cannot_be_deleted_now_keeps_nobody_from_anything(town):
    """Something is mounted in it, say, or immutable. The actor could not be started any more."""
    inside = Path(ask(town, "create", name="v")["path"]) / "inside"
    inside.mkdir()
    (inside.parent / "file").write_text("x")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", inside], check=True)
    try:
        assert ask(town, "remove", name="v") == {}
        town.killed("volumes")
        town.actor(VolumesActor)
        assert ask(town, "list") == {"volumes": []}
        assert ask(town, "create", name="v")["settled"] is False
        wait_until("the rest is deleted", lambda: not list(left(town)[0].glob("**/file")))
    finally:
        (mounted,) = [path for path in left(town)[0].glob("**/*") if path.is_mount()]
        subprocess.run(["umount", mounted], check=True)
    ask(town, "remove", name="v")
    wait_until("everything is deleted", lambda: left(town) == [])


def test_a_removal_that_takes_long_holds_nobody_up(tmp, monkeypatch):
    """One of a million files: the actor stood still over it, hung and was killed, again and again."""
    held = tmp / "held"
    held.touch()

    def waits(path):
        while held.exists():
            time.sleep(0.01)
        delete_tree(path)

    monkeypatch.setattr("actors.volumes.delete_tree", waits)
    with Town(tmp) as town:
        town.actor(VolumesActor)
        town.actor(Metadata)
        for name in ("a", "b"):
            ask(town, "create", name=name)
            ask(town, "remove", name=name)
        assert ask(town, "list") == {"volumes": []}
        assert len(left(town)) == 2
        held.unlink()
        wait_until("everything is deleted", lambda: left(town) == [])


@pytest.mark.root
def test_one_that_something_is_mounted_on_is_refused_and_stays(town):
    """Somebody keeps it on a disk of its own. The actor ended over it."""
    place = Path(ask(town, "create", name="v")["path"]).parent
    subprocess.run(["mount", "--bind", place, place], check=True)
    try:
        with pytest.raises(RemoteError, match='cannot remove volume "v": device or resource busy'):
            ask(town, "remove", name="v")
        assert [one["name"] for one in ask(town, "list")["volumes"]] == ["v"]
    finally:
        subprocess.run(["umount", place], check=True)
    assert ask(town, "remove", name="v") == {}
    assert [one["op"] for one in town.actors["volumes"].said].count("ready") == 1


@pytest.mark.parametrize("record", [b"", b"[]", b'{"name": "v"}', b"\xff"])
def test_one_whose_record_cannot_be_read_is_in_nobodys_way(town, record):
    for name in ("v", "w"):
        place = Path(ask(town, "create", name=name)["path"]).parent
    (place.with_name("v") / "volume.json").write_bytes(record)
    assert [one["name"] for one in ask(town, "list")["volumes"]] == ["w"]
    with pytest.raises(RemoteError, match='the record of volume "v" of namespace "ns" cannot be read'):
        ask(town, "get", name="v")
    ask(town, "forget", owner="c")
    assert ask(town, "prune") == {"removed": ["w"]}
    assert ask(town, "remove", name="v") == {}
    assert ask(town, "list") == {"volumes": []}


class Slow(Metadata):
    """It has looked, and takes its time to say so."""

    def containers_list(self, body, call):
        (self.settings.state / "asked").touch()
        wait_until("it may answer", (self.settings.state / "answer").exists)
        return super().containers_list(body, call)


@pytest.mark.parametrize("op", ["prune", "remove"])
def test_a_volume_that_a_container_comes_for_meanwhile_is_left(tmp, op):
    """It was put on record after metadata had looked, and runs by now."""
    with Town(tmp) as town:
        town.actor(VolumesActor)
        town.actor(Slow)
        path = Path(ask(town, "create", name="data")["path"])
        (path / "precious").touch()
        name = {"name": "data"} if op == "remove" else {}
        with ThreadPoolExecutor(1) as pool:
            removal = pool.submit(ask, town, op, **name)
            wait_until("metadata is asked", (town.settings.state / "asked").exists)
            ask(town, "create", name="data", container="c1")
            (town.settings.state / "answer").touch()
            if op == "remove":
                with pytest.raises(RemoteError, match="is used by container c1"):
                    removal.result(LIMIT)
            else:
                assert removal.result(LIMIT) == {"removed": []}
        assert (path / "precious").exists()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "b"),
        ("a" * 64, "b" * 64),
        ("the-web-server-of-our-shop-number-1", "the-web-server-of-our-shop-number-2"),
        ("the-very-long-web-server-of-shop-1", "the-very-long-web-server-of-shop.2"),
    ],
)
def test_no_two_containers_have_the_same_volume_of_their_own(one, other):
    names = {own_volume(container, target) for container in (one, other) for target in ("/a", "/b/", "/b")}
    assert len(names) == 4
    for name in names:
        check_identifier("volume name", name)
