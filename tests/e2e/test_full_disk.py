"""A disk that fills up while a container prints: it waits, its actor lives, and nothing is lost."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from daemon import running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]
LINES = 600_000  # about 4 MB
SHA256 = hashlib.sha256(b"".join(b"%d\n" % number for number in range(1, LINES + 1))).hexdigest()
COMPLAINT = "no room for the output"


@pytest.fixture
def cramped(own_daemon: Daemon) -> Iterator[Daemon]:
    """A daemon with 1 MiB for output."""
    logs = own_daemon.root / "logs"
    logs.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", logs], check=True)
    yield own_daemon
    for one in own_daemon.json("ps", "-a"):
        own_daemon.actr("rm", "-f", one["id"])
    subprocess.run(["umount", "-l", logs], check=True)


def _printing(daemon: Daemon, busybox: str) -> str:
    daemon.actr("run", "-d", "--name", "prints", busybox, "sh", "-c", f"seq {LINES}; exit 4")
    wait_until("there is no room", lambda: COMPLAINT in daemon.log.read_text())
    (one,) = daemon.json("ps")
    return str(one["actor"])


def test_output_waits_for_room_and_is_whole(cramped: Daemon, busybox: str):
    actor = _printing(cramped, busybox)
    pid = cramped.pid(actor)
    logs = cramped.root / "logs"
    subprocess.run(["mount", "-o", "remount,size=64m", logs], check=True)
    assert cramped.actr("wait", "prints").stdout.strip() == "4"
    printed = cramped.actr("logs", "prints").stdout
    assert hashlib.sha256(printed.encode()).hexdigest() == SHA256
    assert cramped.pid(actor) == pid
    assert cramped.log.read_text().count(COMPLAINT) == 1


def test_an_actor_killed_while_there_is_no_room_loses_nothing(cramped: Daemon, busybox: str):
    actor = _printing(cramped, busybox)
    old = cramped.kill_actor(actor)
    wait_until("it is back", lambda: cramped.healed(actor, old))
    subprocess.run(["mount", "-o", "remount,size=64m", cramped.root / "logs"], check=True)
    assert cramped.actr("wait", "prints").stdout.strip() == "4"
    printed = cramped.actr("logs", "prints").stdout
    assert hashlib.sha256(printed.encode()).hexdigest() == SHA256


def test_what_fills_the_disk_can_be_removed(cramped: Daemon, busybox: str):
    _printing(cramped, busybox)
    cramped.actr("rm", "-f", "prints")
    assert cramped.json("ps", "-a") == []
    assert cramped.actr("run", "--rm", busybox, "echo", "room").stdout == "room\n"


@pytest.fixture
def crowded(tmp: Path) -> Iterator[Daemon]:
    """A daemon whose state directory has been filled up by somebody."""
    state = tmp / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=0711", "tmpfs", state], check=True)
    try:
        with running(tmp) as daemon:
            _fill(state / "filler")
            yield daemon
            (state / "filler").unlink()
    finally:
        subprocess.run(["umount", "-l", state], check=True)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))


@pytest.mark.parametrize("who", ["metrics", "supervisor"])
def test_a_state_directory_without_room_costs_nobody_but_who_died(crowded: Daemon, who: str):
    """What each of them writes there when it starts is a courtesy."""
    others = {name: one["pid"] for name, one in crowded.actors().items() if name != who}
    old = crowded.kill_actor(who)
    wait_until("it is back", lambda: crowded.healed(who, old))
    wait_until("it has not been written", lambda: "No space left" in crowded.log.read_text())
    assert {name: one["pid"] for name, one in crowded.actors().items() if name != who} == others


@pytest.fixture
def filled(tmp: Path, busybox: str) -> Iterator[tuple[Daemon, Path]]:
    """A daemon with a state directory of 8 MiB, and the file that is to fill it up."""
    state = tmp / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=0711", "tmpfs", state], check=True)
    try:
        with running(tmp) as daemon:
            daemon.actr("pull", busybox)
            yield daemon, state / "filler"
            (state / "filler").unlink(missing_ok=True)
    finally:
        subprocess.run(["umount", "-l", state], check=True)


@pytest.fixture
def waiting(filled: tuple[Daemon, Path], busybox: str) -> tuple[Daemon, Path, dict[str, Any]]:
    """The same, and a container that has ended, for whose journal there is no room."""
    daemon, filler = filled
    script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    daemon.actr("run", "-d", "--name", "ends", busybox, "sh", "-c", script)
    wait_until("it is ready", lambda: daemon.actr("logs", "ends").stdout)
    one = daemon.actors()[daemon.json("inspect", "ends")["actor"]]
    _fill(filler)
    daemon.actr("kill", "-s", "TERM", "ends")
    wait_until("there is no room", lambda: "no room for the journal" in daemon.log.read_text())
    return daemon, filler, one


def test_an_end_waits_for_room_in_the_journal(waiting: tuple[Daemon, Path, dict[str, Any]]):
    """It is told once it is durable, and its actor lives."""
    daemon, filler, actor = waiting
    assert daemon.json("inspect", "ends")["task"]["status"] == "running"
    filler.unlink()
    assert daemon.actr("wait", "ends").stdout == "7\n"
    assert daemon.pid(actor["name"]) == actor["pid"]
    assert daemon.log.read_text().count("no room for the journal") == 1
    daemon.actr("rm", "ends")


def test_what_has_no_room_for_its_journal_can_be_removed(waiting: tuple[Daemon, Path, dict[str, Any]]):
    daemon, filler, _ = waiting
    daemon.actr("rm", "-f", "ends")
    assert daemon.json("ps", "-a") == []
    assert filler.exists()
