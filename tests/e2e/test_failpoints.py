"""Killed at the worst moments and found again in the right state: create, start, exec, remove, pull."""

from __future__ import annotations

import contextlib
import signal
import tarfile
from collections import Counter
from typing import TYPE_CHECKING, Any

import images
import pytest
from daemon import Daemon, running, wait_until

from transport.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

RUN = (
    "metadata.containers.create.before",
    "metadata.containers.create.after",
    "metadata.tasks.record.after",
    "supervisor.spawn.before",
    "bundles.mount.after",
    "snapshots.snapshots.prepare.after",
    "bundles.netns.after",
    "container.open.after",
    "container.save.written",
    "container.prepare.after",
    "container.runtime.before",
    "container.runtime.after",
    "container.exit.found",
    "container.exit.taken",
    "container.settle.before",
    "events.events.publish.after",
)
REMOVE = (
    "container.remove.before",
    "container.remove.wanted",
    "container.remove.cleaned",
    "container.remove.snapshot",
    "container.remove.forgotten",
    "container.answer_removed.before",
    "snapshots.snapshots.remove.after",
    "metadata.announce.recorded",
    "metadata.containers.forget.after",
)
LEAVE = (
    "container.release.after",
    "metadata.tasks.record.after",
    "container.retire.recorded",
    "container.retire.answered",
    "container.settle.after",
    "container.remove.before",
    "container.remove.rest",
    "container.remove.forgotten",
    "events.events.publish.after",
)
EXEC = (
    "container.tasks.exec.before",
    "container.tasks.exec.after",
    "container.exec.before",
    "container.exec.after",
)


@pytest.fixture(scope="module")
def fragile(short_root: Path, busybox: str) -> Iterator[Daemon]:
    """A daemon that takes failpoints."""
    directory = short_root / "fragile"
    directory.mkdir()
    with running(directory, "--failpoints") as started:
        started.actr("pull", busybox)
        yield started


def _set(daemon: Daemon, place: str, action: str) -> None:
    """In the actor that runs; of containers and pullers, in those to come."""
    daemon.actr("chaos", "set", place, action)


def _is_whole(daemon: Daemon) -> bool:
    try:
        return all(one["state"] == "running" for one in daemon.actors().values())
    except AssertionError:  # the supervisor is only just coming back
        return False


def _fired(daemon: Daemon, place: str) -> None:
    """The log says that somebody was killed: else the test would show nothing."""
    kind = place.partition(".")[0]
    wait_until(f"{kind} was killed at {place}", lambda: " ended with status 9" in daemon.log.read_text())
    daemon.log.write_text("")


@pytest.mark.parametrize("place", RUN)
def test_a_run_killed_at(fragile: Daemon, busybox: str, place: str):
    daemon = fragile
    _set(daemon, place, "kill(count=1)")
    daemon.actr("run", "-d", "--name", "one", busybox, "sh", "-c", "echo once; exit 3", check=None)
    _fired(daemon, place)
    wait_until("all is well again", lambda: _is_whole(daemon))
    if not daemon.json("ps", "-a"):  # killed before it was durable: nothing has happened at all
        assert place == "metadata.containers.create.before"
        daemon.actr("run", "-d", "--name", "one", busybox, "sh", "-c", "echo once; exit 3")
    daemon.actr("start", "one", check=None)  # where the client had not come so far
    assert daemon.actr("wait", "one").stdout.strip() == "3"
    assert set(daemon.actr("logs", "one").stdout.split()) == {"once"}
    daemon.actr("rm", "one")
    _is_clean(daemon)


@pytest.mark.parametrize("place", ["container.runtime.before", "container.runtime.after"])
def test_a_run_that_is_killed_at_its_start_reads_all_of_its_input(fragile: Daemon, busybox: str, place: str):
    content = b"all of it\n" * 20_000
    _set(fragile, place, "kill(count=1)")
    done = fragile.actr("run", "--rm", "-i", busybox, "cat", stdin=content)
    _fired(fragile, place)
    assert done.stdout == content.decode()
    wait_until("all is well again", lambda: _is_whole(fragile))
    _is_clean(fragile)


def test_an_exec_that_is_killed_at_its_start_reads_all_of_its_input(fragile: Daemon, busybox: str):
    content = b"all of it\n" * 20_000
    _set(fragile, "container.exec.after", "kill(count=1)")
    fragile.actr("run", "-d", "--name", "one", busybox, "sleep", "600")
    done = fragile.actr("exec", "-i", "one", "cat", stdin=content)
    _fired(fragile, "container.exec.after")
    assert done.stdout == content.decode()
    fragile.actr("rm", "-f", "one")
    _is_clean(fragile)


def _is_clean(daemon: Daemon) -> None:
    """Nothing of a container is left."""
    assert daemon.json("ps", "-a") == []
    wait_until("its actor has ended", lambda: not [n for n in daemon.actors() if n.startswith("container/")])
    assert list((daemon.state / "netns").iterdir()) == []
    assert list((daemon.state / "containers/default").iterdir()) == []


@pytest.mark.parametrize("place", REMOVE)
def test_a_removal_killed_at(fragile: Daemon, busybox: str, place: str):
    daemon = fragile
    _set(daemon, place, "kill(count=1)")
    daemon.actr("create", "--name", "one", busybox, "true")
    daemon.actr("rm", "one", check=None)
    _fired(daemon, place)
    wait_until("it is gone", lambda: daemon.json("ps", "-a") == [])
    _is_clean(daemon)


@pytest.mark.parametrize("place", LEAVE)
def test_one_that_removes_itself_killed_at(fragile: Daemon, busybox: str, place: str):
    daemon = fragile
    before = _told(daemon)
    _set(daemon, place, "kill(count=1)")
    done = daemon.actr("run", "--rm", "--name", "one", busybox, "sh", "-c", "echo once; exit 3", check=3)
    assert done.stdout == "once\n"
    assert daemon.json("ps", "-a") == []
    _fired(daemon, place)
    daemon.actr("run", "--rm", "--name", "one", busybox, "true")
    wait_until("all is well again", lambda: _is_whole(daemon))
    _is_clean(daemon)
    assert _told(daemon) - before == Counter({"/tasks/exit": 2, "/containers/delete": 2})


def _told(daemon: Daemon) -> Counter[str]:
    """How often the end and the removal of a container were told."""
    with contextlib.closing(daemon.client()) as client:
        found = client.request("events.recent", {"number": 1000}, to="events")["events"]
    return Counter(one["topic"] for one in found if one["topic"] in ("/tasks/exit", "/containers/delete"))


@pytest.mark.parametrize("place", EXEC)
def test_an_exec_killed_at(fragile: Daemon, busybox: str, place: str):
    daemon = fragile
    daemon.actr("run", "-d", "--name", "one", busybox, "sleep", "1000")
    (one,) = daemon.json("ps")
    daemon.actr("chaos", "set", place, "kill", "--actor", one["actor"])
    daemon.actr("exec", "one", "sh", "-c", "echo >>/count", check=None)
    _fired(daemon, place)
    wait_until("all is well again", lambda: _is_whole(daemon))
    (again,) = daemon.json("ps")
    assert again["task"]["pid"] == one["task"]["pid"]
    assert daemon.actr("exec", "one", "sh", "-c", "cat /count 2>/dev/null | wc -l").stdout.strip() in (
        "0",
        "1",
    )
    daemon.actr("rm", "-f", "one")
    _is_clean(daemon)


TARGET = {
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "digest": "sha256:" + 64 * "a",
    "size": 7,
}
LONG = "x" * 1024  # as an image may be called
CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "/namespaces/create": ("namespaces.create", {"name": "told"}),
    "/namespaces/update": ("namespaces.update", {"name": "told", "labels": {"k": "v"}}),
    "/images/create": ("images.create", {"namespace": "told", "name": LONG, "target": TARGET}),
    "/images/update": ("images.update", {"namespace": "told", "name": LONG, "labels": {"k": "v"}}),
    "/images/delete": ("images.delete", {"namespace": "told", "name": LONG, "exact": True}),
    "/namespaces/delete": ("namespaces.delete", {"name": "told"}),
}


def _topics(daemon: Daemon, namespace: str) -> list[str]:
    with contextlib.closing(daemon.client()) as client:
        wish = {"namespace": namespace}
        events = client.stream("events.subscribe", wish, to="events", credit=1000, patience=5)
        return [one.body["topic"] for one in events if one.kind == "event"]


def test_what_was_recorded_is_told_by_the_next_incarnation(fragile: Daemon):
    """Of what was deleted there is no record any more that could be told of."""
    for topic, (operation, body) in CHANGES.items():
        _set(fragile, "metadata.announce.recorded", "kill(count=1)")
        with contextlib.closing(fragile.client()) as client, pytest.raises(RemoteError):
            client.request(operation, body, to="metadata", limit=10.0, repeatable=False)
        _fired(fragile, "metadata.announce.recorded")
        wait_until(f"{topic} is told", lambda wanted=topic: wanted in _topics(fragile, "told"))
        wait_until("all is well again", lambda: _is_whole(fragile))
    assert _topics(fragile, "told") == list(CHANGES)


def test_an_answer_that_is_dropped_is_an_unknown_outcome(fragile: Daemon):
    daemon = fragile
    _set(daemon, "metadata.namespaces.list.reply", "drop-reply(count=1)")
    with contextlib.closing(daemon.client()) as client:
        with pytest.raises(RemoteError) as lost:
            client.request("namespaces.list", {}, to="metadata", limit=0.5, repeatable=False)
        assert (lost.value.code, lost.value.outcome) == ("deadline_exceeded", "unknown")
        assert client.request("namespaces.list", {}, to="metadata", limit=10.0, repeatable=False)


def test_a_copy_killed_while_it_has_the_root_mounted(fragile: Daemon, busybox: str):
    daemon = fragile
    daemon.actr("run", "--name", "one", busybox, "true")
    (one,) = daemon.json("ps", "-a")
    root = daemon.state / "containers/default" / one["id"] / "rootfs"
    _set(daemon, "bundles.spec.after", "delay(2000,count=1)")
    client = daemon.popen("cp", "one:/etc", "-")
    wait_until("it is mounted", (root / "etc").exists)
    client.kill()
    client.communicate()
    old = daemon.kill_actor(one["actor"])
    wait_until("it is back", lambda: daemon.healed(one["actor"], old))
    wait_until("nothing is mounted", lambda: not (root / "etc").exists())
    daemon.actr("rm", "one")
    _is_clean(daemon)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_who_is_interrupted_before_hearing_of_a_container_leaves_none(
    fragile: Daemon, busybox: str, number: signal.Signals
):
    """The answer never comes; without the id that it has, nobody would think of removing it."""
    daemon = fragile
    _set(daemon, "metadata.containers.create.reply", "drop-reply(count=1)")
    client = daemon.popen("run", "--rm", "--name", "one", busybox, "sleep", "600")
    wait_until("it runs", lambda: [one["name"] for one in daemon.json("ps")] == ["one"])
    client.send_signal(number)
    assert (client.communicate(timeout=60), client.returncode) == ((b"", b""), 128 + number)
    assert daemon.json("ps", "-a") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_who_is_interrupted_while_the_container_starts_leaves_none(
    fragile: Daemon, busybox: str, number: signal.Signals
):
    """The signal cannot be passed on to a process that is not there yet; it would have run on unasked."""
    daemon = fragile
    _set(daemon, "bundles.mount.after", "delay(3000,count=1)")
    client = daemon.popen("run", "--rm", "--name", "one", busybox, "sleep", "600")

    def starts() -> bool:
        found = daemon.json("ps", "-a")
        with daemon.client_in_use() as asking:
            phases = [asking.request("tasks.state", {}, to=one["actor"])["phase"] for one in found]
        return phases == ["preparing"]

    wait_until("it starts", starts)
    client.send_signal(number)
    assert (client.communicate(timeout=60), client.returncode) == ((b"", b""), 128 + number)
    assert daemon.json("ps", "-a") == []


def test_an_exec_that_is_asked_for_again_while_it_starts_is_answered_once_it_has(
    fragile: Daemon, busybox: str
):
    fragile.actr("run", "-d", "--name", "one", busybox, "sleep", "600")
    actor = fragile.json("ps")[0]["actor"]
    wish = {"exec_id": "again", "args": ["true"]}
    with contextlib.closing(fragile.client()) as client:
        slow = {"name": "container.exec.before", "action": "delay(2000,count=1)"}
        client.request("failpoints.set", slow, to=actor, limit=10.0)
        with pytest.raises(RemoteError, match="no answer"):
            client.request("tasks.exec", wish, to=actor, limit=0.1)
        assert client.request("tasks.exec", wish, to=actor, limit=60.0)["pid"] > 0
    fragile.actr("rm", "-f", "one")


def test_an_error_is_answered_and_kills_nobody(fragile: Daemon):
    daemon = fragile
    pid = daemon.pid("metadata")
    _set(daemon, "metadata.images.list.before", "error(overloaded,count=1)")
    with contextlib.closing(daemon.client()) as client:
        with pytest.raises(RemoteError) as refused:
            client.request(
                "images.list", {"namespace": "default"}, to="metadata", limit=5.0, repeatable=False
            )
        assert refused.value.code == "overloaded"
        assert client.request("images.list", {"namespace": "default"}, to="metadata", repeatable=False)
    assert daemon.pid("metadata") == pid


def test_what_was_passed_is_listed(fragile: Daemon):
    daemon = fragile
    daemon.actr("images")
    rows = daemon.json("chaos", "list", "--actor", "metadata")
    (row,) = [one for one in rows if one["name"] == "metadata.images.list.after"]
    assert row["passed"] > 0
    assert row["action"] == "off"
    assert "metadata.images.list.after" in daemon.actr("chaos", "list").stdout


def test_what_makes_no_sense_is_refused(fragile: Daemon):
    before = {name: fragile.pid(name) for name in ("metadata", "supervisor")}
    for words in (("Metadata", "kill"), ("metadata.x", "explode")):
        for more in (("--actor", "metadata"), ("--actor", "supervisor"), ()):
            done = fragile.actr("chaos", "set", *words, *more, check=None)
            assert done.returncode == 1
            nobody = not more and words[0] == "Metadata"  # who is then asked for by that name
            assert ("no actor is named Metadata" if nobody else "failpoint") in done.stderr
    assert {name: fragile.pid(name) for name in before} == before, "nobody ends of it"


def test_without_the_option_they_are_refused(daemon: Daemon):
    done = daemon.actr("chaos", "set", "metadata.images.list.before", "kill", check=None)
    assert done.returncode == 1
    assert "--failpoints" in done.stderr
    daemon.actr("images")


def test_a_snapshot_that_somebody_else_commits_meanwhile(fragile: Daemon, registry: Registry, tmp: Path):
    def extra(tar: tarfile.TarFile) -> None:
        images.add_file(tar, "usr/lib/one", b"a layer that is not there yet")

    name = f"{registry.host}/library/overtaken:t"
    layout = images.Layout(tmp / "image")
    base = layout.add_layer(lambda tar: images.write_busybox(tar, extra))
    top = layout.add_layer(lambda tar: images.add_file(tar, "usr/lib/three", b"3"))
    layout.tag("t", layout.add_image([base, top], {"Cmd": ["sh"], "Env": [images.PATH]}))
    images.push(layout, "t", name)
    _set(fragile, "puller.unpack.applied", "delay(4000,count=2)")  # of whichever layer
    mine = {"namespace": "default", "key": "mine", "labels": {"containerd.io/gc.root": "yes"}}
    with contextlib.closing(fragile.client()) as client:

        def ask(verb: str, **body: object) -> dict[str, Any]:
            found: dict[str, Any] = client.request(f"snapshots.{verb}", body, to="snapshots", limit=20)
            return found

        def begun() -> bool:
            keys = [one["key"] for one in ask("list", namespace="default")["snapshots"]]
            return any(key.startswith("extract ") and key.endswith(base[1]) for key in keys)

        files = ask("prepare", **mine)["upper"]
        with tarfile.open(layout.path(base[0]["digest"])) as tar:
            tar.extractall(files)  # noqa: S202  # we have made it
        with fragile.popen("pull", name) as pull:
            wait_until("the layer is being unpacked", begun)
            ask("commit", **mine, name=base[1], synced=True)  # soon: the disk may be slow
            assert pull.wait(timeout=60) == 0
        assert ask("layers", namespace="default", key=base[1])["layers"] == [files]
    assert fragile.actr("run", "--rm", name, "cat", "/usr/lib/three").stdout == "3"


def test_a_rename_is_finished_by_the_next_incarnation(fragile: Daemon, busybox: str):
    """Also when nobody asks for it again."""
    daemon, place = fragile, "container.rename.recorded"
    _set(daemon, place, "kill(count=1)")
    daemon.actr("run", "-d", "--name", "old", "--net", "bridge", busybox, "sleep", "600")
    actor = daemon.json("inspect", "old")["actor"]
    with contextlib.closing(daemon.client()) as client, pytest.raises(RemoteError):
        client.request("containers.rename", {"name": "new"}, to=actor)
    _fired(daemon, place)

    def names() -> set[str]:
        return {one["name"] for one in daemon.json("network", "inspect", "bridge")[0]["endpoints"]}

    wait_until("its network knows it by its new name", lambda: names() == {"new"})
    assert daemon.json("ps")[0]["name"] == "new"
    daemon.actr("rm", "-f", "new")
    _is_clean(daemon)


def test_the_environment_sets_them_for_the_whole_daemon(
    tmp: Path, busybox: str, monkeypatch: pytest.MonkeyPatch
):
    places = ("metadata.open.after", "puller.fetch.chunk", "puller.unpack.applied", "puller.name.before")
    monkeypatch.setenv("ACTORD_FAILPOINTS", ";".join(f"{place}=kill(count=1)" for place in places))
    with running(tmp, "--failpoints") as daemon:
        daemon.actr("pull", busybox)
        assert daemon.log.read_text().count(" ended with status 9") == len(places)
        assert daemon.actr("run", "--rm", busybox, "echo", "well").stdout == "well\n"
