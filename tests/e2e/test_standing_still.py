"""Containers that stand still, paused or for a commit: what ends them meanwhile, and what is told of it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from daemon import Daemon, running, wait_until

from actors.runtime.bundle import actual_cgroups_path

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

STOPPABLE = ("sh", "-c", "trap 'exit 3' TERM; sleep 600 & wait")
LONG = "delay(40000,count=1)"  # twice as long as is waited for anything


@pytest.fixture(scope="module")
def fragile(short_root: Path, busybox: str) -> Iterator[Daemon]:
    """A daemon that takes failpoints."""
    directory = short_root / "still"
    directory.mkdir()
    with running(directory, "--failpoints") as started:
        started.actr("pull", busybox)
        yield started


@contextlib.contextmanager
def _being_committed(daemon: Daemon, busybox: str, *words: str) -> Iterator[dict[str, Any]]:
    """A container in the middle of a commit, frozen; then the job goes on, and leaves nothing."""
    daemon.actr("chaos", "set", "job.commit.frozen", LONG)
    daemon.actr("run", "-d", "--name", "web", *words, busybox, *STOPPABLE)
    before = _jobs(daemon)
    client = daemon.popen("commit", "-q", "web", "made:1")
    [one] = daemon.json("ps")
    state = wait_until("it is frozen", lambda: _freezer(daemon, one["id"]))
    try:
        assert state == "FROZEN"
        yield one
    finally:
        [job] = _jobs(daemon) - before
        daemon.kill_actor(job)  # which then goes on at once
        client.communicate(timeout=60)
        daemon.actr("rm", "-f", "web")
        daemon.actr("rmi", "made:1", check=None)


def _jobs(daemon: Daemon) -> set[str]:
    return {name for name in daemon.actors() if name.startswith("job/")}


def _freezer(daemon: Daemon, container: str) -> str:
    """The state of the version 1 freezer of a container; empty while it goes on."""
    path = actual_cgroups_path(daemon.state / "containers/default" / container)
    found = Path(f"/sys/fs/cgroup/freezer{path}/freezer.state").read_text().strip()
    return "" if found == "THAWED" else found


@pytest.mark.parametrize(
    ("words", "code"), [(("kill", "web"), 137), (("stop", "web"), 3)], ids=["kill", "stop"]
)
def test_one_that_is_ended_while_it_is_committed_ends_at_once(
    fragile: Daemon, busybox: str, words: tuple[str, ...], code: int
):
    with _being_committed(fragile, busybox):
        asked = fragile.popen(*words)
        wait_until("it has ended", lambda: fragile.json("ps") == [])
        asked.communicate(timeout=20)
        assert fragile.actr("wait", "web").stdout == f"{code}\n"


def test_one_that_is_removed_while_it_is_committed_is_gone_at_once(fragile: Daemon, busybox: str):
    with _being_committed(fragile, busybox):
        asked = fragile.popen("rm", "-f", "web")
        wait_until("it is gone", lambda: fragile.json("ps", "-a") == [])
        asked.communicate(timeout=20)


@pytest.mark.parametrize("place", ["freeze.before", "announce_turn.before", "announce_turn.after"])
def test_that_it_stands_still_is_told_once_whenever_its_actor_is_killed(
    fragile: Daemon, busybox: str, place: str
):
    fragile.actr("chaos", "set", f"container.{place}", "kill(count=1)")
    fragile.actr("run", "-d", "--name", "web", busybox, *STOPPABLE)
    [one] = fragile.json("ps")
    old = fragile.pid(one["actor"])
    fragile.actr("pause", "web", check=None)
    wait_until("its actor was killed, and is back", lambda: fragile.healed(one["actor"], old))
    wait_until("it is told", lambda: _turns(fragile, one["id"]) == ["/tasks/paused"])
    assert _freezer(fragile, one["id"]) == "FROZEN"
    fragile.actr("unpause", "web")
    fragile.kill_actor(one["actor"])
    wait_until("it is told", lambda: _turns(fragile, one["id"]) == ["/tasks/paused", "/tasks/resumed"])
    fragile.actr("rm", "-f", "web")
    assert _turns(fragile, one["id"]) == ["/tasks/paused", "/tasks/resumed"]


def _turns(daemon: Daemon, container: str) -> list[str]:
    found = daemon.json("events", "--no-follow")
    told = [event for event in found if event["body"].get("container_id") == container]
    return [event["topic"] for event in told if event["topic"] in ("/tasks/paused", "/tasks/resumed")]
