"""The id of an exec that has ended and been deleted may be used again, for one with a life of its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from journalled import at_once

from actors.execs import KEEP, Execs
from actors.linux.pidfd import Process
from actors.messages import TasksExecAdd
from actors.runtime.launch import Running

if TYPE_CHECKING:
    from pathlib import Path


class _Actor(SimpleNamespace):
    """As much of a container's actor as its execs need; timers wait for the test."""

    def __init__(self, bundle: Path) -> None:
        streams = SimpleNamespace(
            follow=lambda *_: None, serve=lambda _: None, drain=lambda _name, _wants, then: then()
        )
        super().__init__(
            bundle=bundle, streams=streams, timers=[], told=[], ends=[], save=at_once, when_saved=at_once
        )
        self.record = {"name": "web"}
        self.processes = SimpleNamespace(when_exited=lambda _, then: self.ends.append(then))
        self.reports = SimpleNamespace(announce=self._announce)
        self.health = SimpleNamespace(ended=lambda *_: None)
        self.stepwise = SimpleNamespace(end_input=lambda _: None)

    def later(self, seconds: float, function: Any) -> None:
        self.timers.append((seconds, function))

    def _announce(self, topic: str, key: str, _at: int, **_: Any) -> None:
        self.told.append((topic, key))


@pytest.fixture
def actor(tmp_path: Path) -> Any:
    return _Actor(tmp_path)


def _runs_and_ends(actor: Any, execs: Execs, pid: int) -> None:
    _runs(execs, pid)
    actor.ends.pop()(0, pid)


def _runs(execs: Execs, pid: int) -> None:
    execs.from_journal({**execs.to_journal(), "job": {}})
    execs._launched("job", execs._find("job"), Running(Process(pid, pid * 10), pid))


def test_the_one_that_has_the_id_next_is_not_forgotten_with_the_last(actor: Any):
    execs = Execs(actor)
    _runs_and_ends(actor, execs, 5)
    execs.delete("job")
    _runs(execs, 6)
    ((seconds, forget),) = actor.timers
    forget()
    assert seconds == KEEP
    assert execs.phase("job") == "running"


def test_one_that_nobody_lets_go_of_is_forgotten_in_time(actor: Any):
    execs = Execs(actor)
    _runs_and_ends(actor, execs, 5)
    actor.timers.pop()[1]()
    assert execs.is_idle()


def test_each_is_told_of_in_events_of_its_own(actor: Any):
    """The journal takes an event once for each key, for as long as it has it."""
    execs = Execs(actor)
    for pid in (5, 6):
        _runs_and_ends(actor, execs, pid)
        execs.delete("job")
    assert [topic for topic, _ in actor.told] == ["/tasks/exec-started", "/tasks/exit"] * 2
    assert len(set(actor.told)) == 4


def test_each_that_is_added_is_told_of_too(actor: Any):
    execs = Execs(actor)
    answers: list[Any] = []
    call: Any = SimpleNamespace(reply=lambda: answers.append({}))
    for token in ("a", "b"):
        execs.add(TasksExecAdd("job", {}, "", "", "", token=token), call)
        execs.add(TasksExecAdd("job", {}, "", "", "", token=token), call)  # asked again
        execs.delete("job")
    assert len(set(actor.told)) == len(actor.told) == 2
    assert len(answers) == 4


def test_an_end_that_is_told_again_has_its_key(actor: Any):
    """As by the next incarnation, if this one has died before all of the output was kept."""
    actor.streams.drain = lambda *_: None
    execs = Execs(actor)
    _runs_and_ends(actor, execs, 5)
    execs.recover()
    ends = [told for told in actor.told if told[0] == "/tasks/exit"]
    assert len(ends) == 2
    assert len(set(ends)) == 1
