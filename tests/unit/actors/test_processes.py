"""Whoever comes to watch a process that has ended already hears of its end, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from actors.control import Control
from actors.execs import Execs
from actors.lifecycle import State
from actors.linux import cgroups, pidfd, pinning
from actors.linux.pidfd import Process
from actors.linux.process import descriptor_count
from actors.messages import TasksRestore
from actors.processes import EXIT_TRIES, Processes
from actors.removal import Removal
from actors.runtime import bundle as files
from actors.zygote.strangers import shelf
from transport.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _Actor(SimpleNamespace):
    """As much of a container's actor as its processes need; what is to be done soon waits for the test."""

    def __init__(self, bundle: Path) -> None:
        self.said: list[dict[str, Any]] = []
        self.watched: list[int] = []
        self.timers: list[Any] = []
        self.readable: dict[int, Any] = {}
        pump = SimpleNamespace(
            call=lambda function: function(),
            watch=self._watch,
            unwatch=self.readable.pop,
            call_later=lambda _, function: self.timers.append(function),
        )
        host = SimpleNamespace(pump=pump, say=lambda _=(), **words: self.said.append(words))
        super().__init__(bundle=bundle, host=host, due=[], is_watched=lambda _: False)

    def _watch(self, descriptor: int, function: Any) -> None:
        self.watched.append(descriptor)
        self.readable[descriptor] = function

    def soon(self, function: Any) -> None:
        self.due.append(function)


@pytest.fixture
def actor(tmp_path: Path) -> Iterator[Any]:
    made = _Actor(tmp_path)
    yield made
    for descriptor in made.watched:
        os.close(descriptor)
    for pin in tmp_path.glob(f"{files.PINS}/*"):
        pinning.unpin(pin)


def _child(*words: str) -> tuple[subprocess.Popen[bytes], Process]:
    child = subprocess.Popen(words)
    return child, Process.of(child.pid)


def test_the_end_of_one_that_has_ended_is_heard_of_next(actor: Any):
    child, target = _child("sh", "-c", "exit 7")
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    before, heard = descriptor_count(os.getpid()), []

    assert Processes(actor).when_exited(target, lambda *found: heard.append(found))

    assert (heard, actor.watched, actor.said) == ([], [], []), "nobody is to keep it: it stays a zombie"
    actor.due.pop()()
    assert [code for code, _ in heard] == [7]
    assert actor.said == [], "the zygote has nothing of our own child"
    assert descriptor_count(os.getpid()) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, os.WNOHANG)
    child.returncode = 7


def test_one_that_runs_is_kept_and_watched(actor: Any):
    child, target = _child("sleep", "60")
    try:
        assert not Processes(actor).when_exited(target, lambda *_: None)
        assert [(one["op"], one["key"]) for one in actor.said] == [("keep", shelf(target))]
        assert len(actor.watched) == 1
        assert not actor.due
    finally:
        child.kill()
        child.wait()


def _exited(child: subprocess.Popen[bytes]) -> None:
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


@pytest.mark.parametrize("first", ["end", "time"])
def test_whoever_waits_briefly_hears_once_and_finds_the_end(actor: Any, first: str):
    """Be it of the end or of the time; meanwhile nobody takes its exit code for a stray's."""
    child, target = _child("sleep", "60")
    before, heard = descriptor_count(os.getpid()), []
    processes = Processes(actor)
    processes.wait_briefly(target, 1.0, lambda: heard.append("now"))
    assert (heard, actor.due, len(actor.readable)) == ([], [], 1)
    watching = [*actor.readable.values(), *actor.timers]
    child.kill()
    _exited(child)
    processes.reap_strays()
    for function in watching if first == "end" else reversed(watching):
        function()
    assert len(actor.due) == 1, "the other comes too late"
    actor.due.pop()()
    assert (heard, actor.readable) == (["now"], {})
    codes: list[Any] = []
    assert processes.when_exited(target, lambda code, _: codes.append(code)), "it is held until then"
    actor.due.pop()()
    assert codes == [128 + 9]
    actor.watched.clear()  # closed, once its end was found
    assert descriptor_count(os.getpid()) == before
    child.returncode = -9


def test_how_a_strangers_child_ended_is_asked_of_the_next_zygote_however_late_there_is_one(
    actor: Any, monkeypatch: pytest.MonkeyPatch
):
    """While the daemon is down nobody waits for the answer, and it may be on its way to the next one."""
    monkeypatch.setattr(pidfd, "tells_exits", lambda: False)
    known: dict[Process, int] = {}
    lifeline = SimpleNamespace(alone=True, exit_of=lambda target, then: then(known.get(target), 1))
    actor.host.lifeline, actor.later = lifeline, lambda _, function: actor.timers.append(function)
    child, target = _child("sleep", "60")
    descriptor, codes = target.open(), []
    child.kill()
    child.wait()  # as a stranger does
    Processes(actor)._find_exit(target, descriptor, lambda code, _: codes.append(code), EXIT_TRIES)
    for _ in range(3 * EXIT_TRIES):
        actor.due.pop()()
        actor.timers.pop()()
    assert codes == []
    known[target], lifeline.alone = 9, False
    actor.due.pop()()
    actor.timers.pop()()
    actor.due.pop()()
    assert codes == [128 + 9]


def test_of_one_that_has_ended_who_waits_briefly_hears_at_once(actor: Any):
    child, target = _child("true")
    _exited(child)
    heard: list[str] = []
    processes = Processes(actor)
    processes.wait_briefly(target, 1.0, lambda: heard.append("now"))
    assert (heard, actor.timers, actor.readable) == (["now"], [], {})
    processes.let_go()
    child.wait()


def test_what_criu_says_before_a_restore_is_not_reaped_by_others(
    actor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The end of each child has strays looked for, while a thread may be about to wait for it."""
    criu, heard, jobs = tmp_path / "criu", [], []
    criu.write_text("#!/bin/sh\necho no >&2; exit 1\n")
    criu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    actor.processes, actor.launcher = Processes(actor), SimpleNamespace(program="runc")
    actor.work = lambda function, then: jobs.append((function, then))
    run = subprocess.Popen.communicate

    def ended_and_looked_for(child: Any, *given: Any, **more: Any) -> Any:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        actor.processes.reap_strays()
        return run(child, *given, **more)

    monkeypatch.setattr(subprocess.Popen, "communicate", ended_and_looked_for)
    call: Any = SimpleNamespace(fail=heard.append)
    Control(actor).restore(TasksRestore("/checkpoint"), call)
    ((function, then),) = jobs
    with pytest.raises(RemoteError, match="criu does not work on this kernel: no") as refused:
        function()
    then(refused.value)
    assert heard == [refused.value]


def test_a_runtime_that_a_removal_calls_is_not_reaped_by_others(actor: Any):
    """The end of each child has strays looked for. The removal failed over it, and was tried again later."""
    jobs: list[Any] = []
    actor.processes = Processes(actor)
    actor.work = lambda function, _: jobs.append(function)
    actor.copying = SimpleNamespace(when_unmounted=lambda then: then())
    actor.delivery = SimpleNamespace(finish=lambda: None)
    actor.state, actor.namespace, actor.id = State("removing", remove=True), "n", "c"
    actor.record = {"options": {"foreign": {"root": ""}}, "created_at": 1}
    actor.stepwise = SimpleNamespace(has_forgotten=lambda: False)
    actor.call, actor.begin = (lambda _: None), (lambda _: lambda: None)
    statuses: list[int] = []

    def clean_up_run() -> None:
        child, _ = _child("true")
        _exited(child)
        actor.processes.reap_strays()
        statuses.append(os.waitpid(child.pid, 0)[1])
        child.returncode = 0

    actor.clean_up_run = clean_up_run
    Removal(actor).begin()
    (remove,) = jobs
    remove()
    assert statuses == [0]


@pytest.mark.parametrize("path", ["checkpoint", "/a/../b", "/a\0b"])
def test_a_checkpoint_whose_path_can_be_none_is_refused_before_anything_is_done(actor: Any, path: str):
    """A start from it would have ended the actor."""
    with pytest.raises(RemoteError, match="is not an absolute path free of") as refused:
        Control(actor).restore(TasksRestore(path), SimpleNamespace())  # type: ignore[arg-type]
    assert refused.value.code == "invalid_argument"


@pytest.fixture
def sleeping() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "300"]) as found:
        yield found
        found.kill()


@pytest.mark.parametrize("member", [True, False])
def test_a_pid_that_a_cut_off_exec_has_left_may_be_a_strangers_by_now(
    member: bool, sleeping: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It would be watched, and killed, as the exec."""
    layout = cgroups.Layout(cgroups.Kind.V2, tmp_path, (tmp_path,), {})
    monkeypatch.setattr(cgroups, "mounted", lambda: layout)
    monkeypatch.setattr("actors.processes.files.actual_cgroups_path", lambda _: "/n/c")
    (tmp_path / "n/c/below").mkdir(parents=True)
    (tmp_path / "n/c/cgroup.procs").write_text("")
    (tmp_path / "n/c/below/cgroup.procs").write_text(f"{sleeping.pid}\n" if member else "1\n")
    actor = _Actor(tmp_path)
    actor.settings = SimpleNamespace(exits=tmp_path / "exits")
    actor.processes = Processes(actor)  # type: ignore[arg-type]
    (tmp_path / files.EXECS / "x").mkdir(parents=True)
    (tmp_path / files.EXECS / "x" / files.PID_FILE).write_text(str(sleeping.pid))
    execs = Execs(actor)  # type: ignore[arg-type]
    left = execs._left_behind("x")
    assert left == (Process.of(sleeping.pid) if member else Process(sleeping.pid, 0))
    sleeping.kill()
    os.waitid(os.P_PID, sleeping.pid, os.WEXITED | os.WNOWAIT)
    assert execs._left_behind("x") == Process.of(sleeping.pid), (
        "it is not known of which one, and does no harm"
    )
