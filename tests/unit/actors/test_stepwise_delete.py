"""Deleting a task of a client of containerd's API: what it ends, and what it refuses."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from journalled import at_once

from actors import lifecycle as life
from actors import messages as m
from actors.lifecycle import State
from actors.linux.pidfd import Process
from actors.stepwise import Stepwise
from transport.errors import RemoteError

HELD = State(phase="running", run=1, pid=5, start_time=6, held=True)


class _Actor(SimpleNamespace):
    """What a task uses of its actor; `killed` are those that it was to end, `started` what runs for it."""

    def __init__(self, bundle, state=HELD):
        super().__init__(id="a", bundle=bundle, state=state, killed=[], started=[], told=[])
        self.control = SimpleNamespace(kill=self.killed.append)
        self.processes = SimpleNamespace(run_runtime=lambda _, then: self.started.append(then))
        self.launcher = SimpleNamespace(start=None)
        self.execs = SimpleNamespace(clear=lambda: None)
        self.host = SimpleNamespace(say=lambda **_: None)
        self.reports = SimpleNamespace(announce_delete=lambda ended: self.told.append(ended.exit_code))

    when_saved = staticmethod(at_once)

    def happened(self, *facts):
        for fact in facts:
            self.state, _ = life.decide(self.state, fact)


class _Call:
    """A client's, and what it hears."""

    def __init__(self):
        self.open, self.heard = True, []

    def reply(self, answer):
        self.open = False
        self.heard.append(answer)

    fail = reply


def deleted(stepwise):
    """What the client hears."""
    call = _Call()
    stepwise.delete(m.TasksDelete("one"), call)
    return call.heard


def test_one_that_is_held_is_killed_and_forgotten_once_it_has_ended(tmp_path):
    actor = _Actor(tmp_path)
    stepwise = Stepwise(actor)
    heard = deleted(stepwise)
    assert (actor.killed, heard) == ([Process(5, 6)], [])
    with pytest.raises(RemoteError, match="is being deleted"):
        stepwise.let_run(m.TasksLetRun(), None)
    actor.happened(life.Exited(137, 7), life.Released(), life.Settled())
    stepwise.settled()
    assert (actor.state.phase, actor.told) == ("created", [137])
    assert heard == [{"pid": 5, "exit_code": 137, "exited_at": 7}]


@pytest.mark.parametrize("ended", [True, False])
def test_it_is_so_too_if_its_actor_dies_over_it(ended, tmp_path):
    """The request comes again: it is killed once more, or has ended."""
    actor = _Actor(tmp_path)
    deleted(Stepwise(actor))
    actor = _Actor(tmp_path)
    if ended:
        actor.happened(life.Exited(137, 7), life.Released(), life.Settled())
    heard = deleted(Stepwise(actor))
    assert actor.killed == ([] if ended else [Process(5, 6)])
    assert heard == ([{"pid": 5, "exit_code": 137, "exited_at": 7}] if ended else [])


def test_one_that_is_just_let_run_has_to_be_stopped_first(tmp_path):
    actor = _Actor(tmp_path)
    stepwise = Stepwise(actor)
    stepwise.let_run(m.TasksLetRun("two"), SimpleNamespace(settle=None))
    assert len(actor.started) == 1
    with pytest.raises(RemoteError, match="must be stopped before deletion"):
        deleted(stepwise)
    assert actor.killed == []
