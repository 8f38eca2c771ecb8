"""Execs of clients of containerd's API: added first, started later, forgotten when their client says so."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from journalled import at_once

from actors.call import BEGUN
from actors.container_requests import Requests
from actors.execs import Execs
from actors.lifecycle import State
from actors.messages import TasksExecAdd, TasksExecStart
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
        save=at_once,
        when_saved=at_once,
        streams=SimpleNamespace(serve=lambda _: None, discard=lambda _: None),
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


class Starts:
    """Those of an actor's execs that its runtime was asked for, and what it says of them."""

    def __init__(self, actor):
        actor.refuse_unless_running = lambda: None
        actor.state = SimpleNamespace(pid=0, start_time=0)
        actor.processes = SimpleNamespace(run_runtime=lambda _, then: self.asked.append(then))
        self.asked, self.actor = [], actor

    def start(self, token):
        """What the client of this request hears."""
        heard = []
        self.actor.execs.start_added(TasksExecStart("one", token), SimpleNamespace(settle=heard.append))
        return heard

    def fail(self):
        self.asked.pop()(OSError("no room"))


def test_one_whose_start_has_failed_is_started_by_another_request_and_by_no_other(actor):
    execs = execs_of(actor, one={"phase": "added", "given": {**GIVEN}})
    starts = Starts(actor)
    heard = starts.start("first")
    starts.fail()
    assert [error.code for error in heard] == ["failed_precondition"]
    execs = execs_of(actor, **execs.to_journal())  # its actor dies just after
    assert [str(error) for error in starts.start("first")] == [str(heard[0])], "its answer was lost"
    assert starts.asked == []
    waiting = []
    execs.wait("one", SimpleNamespace(settle=waiting.append))
    assert [str(error) for error in waiting] == [str(heard[0])]
    assert starts.start("second") == []
    assert (len(starts.asked), execs.phase("one"), execs._find("one").error) == (1, "starting", "")


@pytest.mark.parametrize("phase", ["running", "exited"])
def test_one_is_started_once(phase, actor):
    """It is a mistake of who asks, and none of ours."""
    execs = execs_of(actor, one={"phase": phase, "pid": 7, "given": {**GIVEN, "started_by": "first"}})
    with pytest.raises(RemoteError, match="exec one has been started before") as raised:
        execs.start_added(TasksExecStart("one", "second"), None)
    assert (raised.value.code, BEGUN in raised.value.details) == ("failed_precondition", True)
    heard = []
    execs.start_added(TasksExecStart("one", "first"), SimpleNamespace(settle=heard.append))
    assert heard == [{"pid": 7}], "the same request once more"


@pytest.mark.parametrize("phase", ["exited", "created"])
def test_none_is_added_to_a_run_that_is_over(phase, actor):
    """It may have ended, or been forgotten, since its client looked: the next run would have the exec."""

    class Container(Requests):
        def __init__(self):
            self.state, self.record, self.execs = State(phase=phase), actor.record, execs_of(actor)

        when_saved = staticmethod(at_once)

        def happened(self, fact):
            raise NotImplementedError

    container = Container()
    with pytest.raises(RemoteError, match="container web is not running") as raised:
        container.tasks_exec_add(TasksExecAdd("one", {}), None)
    assert raised.value.code == "failed_precondition"
    assert not container.execs.to_journal()


def test_none_is_added_whose_streams_have_names_that_can_be_none(actor):
    """To open them would end the actor, and the next one, and the next."""
    execs = execs_of(actor)
    with pytest.raises(RemoteError, match="is no name of a file"):
        execs.add(TasksExecAdd("one", {}, stdout="/a\0b"), None)
    assert not execs.to_journal()
