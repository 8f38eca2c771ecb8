"""A disk that fills up while a container prints: it waits, its actor lives, and nothing is lost."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from typing import TYPE_CHECKING

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
