"""How a stranger's child has ended is found, on a kernel that tells it nobody but those who listen."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from puppets import Stage

from actors.linux import pidfd
from actors.linux.exit_events import ExitEvents
from actors.linux.pidfd import Process
from actors.zygote import strangers
from actors.zygote.exits import Exits
from actors.zygote.strangers import shelf

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(60)]
NAME = "container/a"


@pytest.fixture
def stage(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(pidfd, "tells_exits", lambda: False)
    with Stage(tmp) as one:
        yield one


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """Not a child of any actor, nor of the zygote: of the test, which has reaped it before anybody asks."""
    child = subprocess.Popen(["sh", "-c", "read line; exit 42"], stdin=subprocess.PIPE)
    yield child
    if child.returncode is None:
        child.communicate(b"\n")


def ends(child: subprocess.Popen[bytes]) -> None:
    child.communicate(b"\n")
    assert child.returncode == 42


def keeps_own(stage: Stage, actor: Any, target: Process) -> None:
    """It watches this process, its own child, and the zygote knows."""
    actor.order("keep", path=os.devnull, key=shelf(target))
    stage.settles((stage.settings.watched / f"{target.pid}-{target.start_time}").exists)


def keeps(actor: Any, target: Process) -> None:
    """It watches a stranger's, and the zygote has done what it does then."""
    actor.order("keep", path=os.devnull, key=shelf(target))
    assert ask(actor, target) is None


def ask(actor: Any, target: Process) -> Any:
    actor.say("exit_of", pid=target.pid, start=target.start_time)
    return actor.hears("exit")["status"]


def finds(actor: Any, target: Process) -> Any:
    """The kernel tells just after it has told the parent."""
    while (status := ask(actor, target)) is None:
        pass
    return status


def listens(pid: int) -> bool:
    lines = Path("/proc/net/netlink").read_text().splitlines()[1:]
    sockets = {f"socket:[{line.split()[-1]}]" for line in lines if line.split()[1] == "11"}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since
            if os.fspath(link.readlink()) in sockets:
                return True
    return False


def written(stage: Stage) -> list[str]:
    return [path.name for path in stage.settings.watched.iterdir()]


def test_how_a_strangers_child_ended_is_known_until_it_is_taken(stage: Stage, stranger: Any):
    zygote, supervisor = stage.opening()
    actor = stage.spawn(supervisor, NAME, "container")
    target = Process.of(stranger.pid)
    keeps(actor, target)
    assert listens(zygote.pid)
    assert written(stage) == [f"{target.pid}-{target.start_time}"]
    ends(stranger)
    assert finds(actor, target) == 42 << 8
    actor.say("drop", key=shelf(target))
    assert ask(actor, target) is None
    assert (written(stage), list(stage.settings.exits.iterdir())) == ([], [])
    assert not listens(zygote.pid), "there is nobody any more for whom it would have to"


def test_its_actor_is_dead_at_that_moment(stage: Stage, stranger: Any):
    _, supervisor = stage.opening()
    actor = stage.spawn(supervisor, NAME, "container")
    target = Process.of(stranger.pid)
    keeps(actor, target)
    os.kill(actor.pid, signal.SIGKILL)
    supervisor.hears("exited")
    ends(stranger)
    assert finds(stage.spawn(supervisor, NAME, "container"), target) == 42 << 8


def test_nobody_listens_for_an_actors_own_child(stage: Stage):
    zygote, supervisor = stage.opening()
    actor = stage.spawn(supervisor, NAME, "container")
    actor.order("bear", name="own")
    target = Process.of(stage.meets("own").pid)
    keeps_own(stage, actor, target)
    actor.order("keep", path=os.devnull, key=shelf(Process.of(os.getpid())))
    stage.settles(lambda: listens(zygote.pid))  # for that one
    actor.say("drop", key=shelf(Process.of(os.getpid())))
    stage.settles(lambda: not listens(zygote.pid))
    assert written(stage) == [f"{target.pid}-{target.start_time}"], "another zygote would have to"


@pytest.mark.parametrize("leaves", ["asleep", "crashed"])
def test_the_zygotes_own_child_ends_after_it_and_before_the_next(stage: Stage, leaves: str):
    """What an actor that sleeps or has crashed has left to it, and it to whoever comes next."""
    zygote, supervisor = stage.opening()
    actor, own, target = with_own_child(stage, supervisor)
    if leaves == "asleep":
        actor.say("sleep", keys=[])
        stage.settles(stage.keeper)
        actor.order("exit", code=0)
        assert supervisor.hears("exited")["asleep"]
    else:
        os.kill(actor.pid, signal.SIGKILL)
        supervisor.hears("exited")
        second = stage.spawn(supervisor, NAME, "container")
        keeps(second, target)
        os.kill(second.pid, signal.SIGKILL)
    stage.settles(lambda: listens(zygote.pid) and stage.keeper())
    zygote.end()
    own.order("exit", code=7)
    own.ended()
    os.waitpid(own.pid, 0)  # it has come to us, as it does to init
    _, supervisor = stage.opening()
    assert finds(stage.spawn(supervisor, "container/b", "container"), target) == 7 << 8


def test_on_a_newer_kernel_nobody_listens(stage: Stage, stranger: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pidfd, "tells_exits", lambda: True)
    zygote, supervisor = stage.opening()
    actor = stage.spawn(supervisor, NAME, "container")
    target = Process.of(stranger.pid)
    keeps(actor, target)
    assert (listens(zygote.pid), written(stage)) == (False, [])


def with_own_child(stage: Stage, supervisor: Any) -> tuple[Any, Any, Process]:
    """An actor, and a child of its own that it watches."""
    actor = stage.spawn(supervisor, NAME, "container")
    actor.order("bear", name="own")
    own = stage.meets("own")
    target = Process.of(own.pid)
    keeps_own(stage, actor, target)
    return actor, own, target


def everything_is_killed(stage: Stage, zygote: Any) -> None:
    zygote.end()
    for one in stage.known:
        if one.name == NAME:
            os.kill(one.pid, signal.SIGKILL)
            os.waitpid(one.pid, 0)  # else the next zygote may adopt it for a moment
    if keeper := stage.keeper():
        os.kill(keeper, signal.SIGKILL)
        stage.settles(lambda: not stage.keeper())


def test_all_were_killed_and_it_ends_before_its_actor_is_back(stage: Stage):
    """It was its actor's own child; the next zygote listens before it starts anybody."""
    zygote, supervisor = stage.opening()
    _, own, target = with_own_child(stage, supervisor)
    everything_is_killed(stage, zygote)
    zygote, supervisor = stage.opening()
    assert listens(zygote.pid)
    own.order("exit", code=7)
    own.ended()
    assert finds(stage.spawn(supervisor, NAME, "container"), target) == 7 << 8


def test_all_were_killed_and_it_ended_meanwhile(stage: Stage, stranger: Any):
    """Nobody knows how, and nobody listens for one that is gone."""
    zygote, supervisor = stage.opening()
    actor = stage.spawn(supervisor, NAME, "container")
    target = Process.of(stranger.pid)
    keeps(actor, target)
    everything_is_killed(stage, zygote)
    ends(stranger)
    zygote, supervisor = stage.opening()
    assert (listens(zygote.pid), written(stage)) == (False, [])
    assert ask(stage.spawn(supervisor, NAME, "container"), target) is None


def test_it_ends_between_two_zygotes(stage: Stage, stranger: Any):
    """What the kernel tells waits with the keeper."""
    zygote, supervisor = stage.opening()
    actor = stage.spawn(supervisor, NAME, "container")
    target = Process.of(stranger.pid)
    keeps(actor, target)
    stage.settles(stage.keeper)
    zygote.end()
    ends(stranger)
    _, supervisor = stage.opening()
    assert finds(stage.spawn(supervisor, "container/b", "container"), target) == 42 << 8


def test_the_next_zygote_cannot_listen_with_what_it_has_inherited(
    stage: Stage, stranger: Any, monkeypatch: pytest.MonkeyPatch
):
    """It comes up all the same; how such a process ended is unknown then."""
    zygote, supervisor = stage.opening()
    actor = stage.spawn(supervisor, NAME, "container")
    target = Process.of(stranger.pid)
    keeps(actor, target)
    stage.settles(stage.keeper)
    zygote.end()
    monkeypatch.setattr(ExitEvents, "only", Mock(side_effect=OSError(errno.ENOMEM, "no room")))
    zygote, supervisor = stage.opening()
    ends(stranger)
    assert ask(stage.spawn(supervisor, "container/b", "container"), target) is None
    assert not listens(zygote.pid)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_zygote_is_killed_as_it_hears_of_it(
    stage: Stage, stranger: Any, monkeypatch: pytest.MonkeyPatch, moment: str
):
    keep = Exits.keep

    def killed(self: Exits, *found: Any) -> None:
        if moment == "after":
            keep(self, *found)
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patched:
        patched.setattr(Exits, "keep", killed)
        zygote, supervisor = stage.opening()
    actor = stage.spawn(supervisor, NAME, "container")
    target = Process.of(stranger.pid)
    keeps(actor, target)
    stage.settles(stage.keeper)
    ends(stranger)
    assert zygote.wait() == -signal.SIGKILL
    _, supervisor = stage.opening()
    assert finds(stage.spawn(supervisor, "container/b", "container"), target) == 42 << 8


def test_an_adopted_actors_child_would_become_a_strangers(stage: Stage):
    """Its actor has outlived its zygote: it has the exit, or the one that listens has."""
    zygote, supervisor = stage.opening()
    actor, own, target = with_own_child(stage, supervisor)
    zygote.end()
    actor.hears("alone")
    zygote, supervisor = stage.opening()
    assert listens(zygote.pid)
    os.kill(actor.pid, signal.SIGKILL)
    own.order("exit", code=7)
    own.ended()
    assert finds(stage.spawn(supervisor, "container/b", "container"), target) == 7 << 8


def test_it_ends_just_as_the_zygote_begins_to_listen(
    stage: Stage, stranger: Any, monkeypatch: pytest.MonkeyPatch
):
    """It has been told of, and is gone before that has been read."""
    target = Process.of(stranger.pid)

    class Late(ExitEvents):
        def __init__(self, pids: Any) -> None:
            super().__init__(pids)
            os.kill(target.pid, signal.SIGKILL)
            stage.settles(lambda: not target.exists() and self.first())

    monkeypatch.setattr(strangers, "ExitEvents", Late)
    _, supervisor = stage.opening()
    actor = stage.spawn(supervisor, NAME, "container")
    actor.order("keep", path=os.devnull, key=shelf(target))
    stranger.communicate()
    assert finds(actor, target) == signal.SIGKILL


def test_one_that_cannot_listen_says_so_and_goes_on(
    stage: Stage, stranger: Any, monkeypatch: pytest.MonkeyPatch
):
    def refused(_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    said = stage.settings.state / "said"
    monkeypatch.setattr(strangers, "ExitEvents", refused)
    monkeypatch.setattr(strangers.log, "error", lambda text, *about: said.write_text(text % about))
    _, supervisor = stage.opening()
    actor = stage.spawn(supervisor, NAME, "container")
    target = Process.of(stranger.pid)
    keeps(actor, target)
    ends(stranger)
    assert ask(actor, target) is None
    assert said.read_text().endswith("will not be known: [Errno 1] Operation not permitted")


def test_when_it_ended_is_told_by_the_kernel(stage: Stage, stranger: Any):
    """Not by when somebody came to hear of it."""
    zygote, supervisor = stage.opening()
    actor = stage.spawn(supervisor, NAME, "container")
    target = Process.of(stranger.pid)
    keeps(actor, target)
    os.kill(zygote.pid, signal.SIGSTOP)
    started = time_ns()
    ends(stranger)
    ended = time_ns()
    stage.settles(lambda: time_ns() > ended + 200_000_000)
    os.kill(zygote.pid, signal.SIGCONT)
    assert finds(actor, target) == 42 << 8
    (kept,) = stage.settings.exits.iterdir()
    assert started <= json.loads(kept.read_text())[1] <= ended + 100_000_000
