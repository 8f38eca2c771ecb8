"""Execs of clients of containerd's API: added first, started later, forgotten when their client says so."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from actors.container_requests import Requests
from actors.execs import Execs
from actors.lifecycle import State
from actors.messages import TasksExecAdd
from transport.errors import RemoteError

GIVEN = {"process": {}, "io": ["/in", "", "/err"], "token": "t"}


@pytest.fixture
def actor(tmp_path):
    """What execs use of their actor, which says in `heard` what it was told."""
    heard = []
    return SimpleNamespace(
        heard=heard,
        bundle=tmp_path,
        record={"name": "web"},
        save=lambda: None,
        streams=SimpleNamespace(serve=lambda _: None),
        reports=SimpleNamespace(announce=lambda topic, *_, **__: heard.append(topic)),
        stepwise=SimpleNamespace(
            task={"stdin": ""},
            end_input=lambda name: heard.append(f"end of input of {name}"),
            lines=SimpleNamespace(drain=lambda _name, _io, then, **_: then()),
        ),
        health=SimpleNamespace(ended=lambda name, _: heard.append(f"{name} was a check")),
    )


def execs_of(actor, **plain):
    execs = actor.execs = Execs(actor)
    execs.from_journal(plain)
    return execs


def test_input_ends_with_one_whose_client_does_not_wait_for_its_output(actor):
    """The zygote has a writing end of it for as long as nobody says so."""
    execs = execs_of(actor, one={"phase": "exited", "given": GIVEN})
    execs.delete("one")
    assert actor.heard == ["end of input of one"]


def test_input_of_those_left_ends_with_the_run(actor):
    execs = execs_of(actor, one={"phase": "added", "given": GIVEN}, ours={"phase": "running"})
    execs.clear()
    assert actor.heard == ["end of input of one"]


def test_one_that_is_named_like_a_health_check_is_none(actor):
    """Its end is told, and its exit code is there until its client has taken note of it."""
    execs = execs_of(actor, **{"health-1-1": {"phase": "running", "given": GIVEN}})
    execs._exited("health-1-1", execs._find("health-1-1"), 3, 5)
    assert actor.heard == ["/tasks/exit", "end of input of health-1-1"]
    assert execs.exit_answer("health-1-1")["exit_code"] == 3


@pytest.mark.parametrize("phase", ["exited", "created"])
def test_none_is_added_to_a_run_that_is_over(phase, actor):
    """It may have ended, or been forgotten, since its client looked: the next run would have the exec."""

    class Container(Requests):
        def __init__(self):
            self.state, self.record, self.execs = State(phase=phase), actor.record, execs_of(actor)

        def happened(self, fact):
            raise NotImplementedError

    container = Container()
    with pytest.raises(RemoteError, match="container web is not running") as raised:
        container.tasks_exec_add(TasksExecAdd("one", {}), None)
    assert raised.value.code == "failed_precondition"
    assert not container.execs.to_journal()
