"""Making a task for a client of containerd's API: once, whoever dies over it or asks beside it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from journalled import at_once

from actors import lifecycle as life
from actors import messages as m
from actors.call import BEGUN
from actors.lifecycle import State
from actors.runtime.errors import RuntimeCommandError
from actors.stepwise import Stepwise
from transport.errors import RemoteError

RECORD = {"name": "a", "options": {"foreign": {"root": ""}}, "updated_at": 5}


class Killed(Exception):  # noqa: N818  # not an error: the point of the exercise
    """The actor has been killed."""


@pytest.fixture
def actor(tmp_path):
    """What a task uses of its actor; `asked` are its questions."""
    asked = []
    return SimpleNamespace(
        id="a", namespace="n", bundle=tmp_path, record=RECORD, state=State(), facts=[], asked=asked,
        wait_for_start=lambda _: None, ask=lambda _, then: asked.append(then),
        exit_answer=lambda: RuntimeError("the last failure"), when_saved=at_once,
    )  # fmt: skip


def asking():
    heard = []
    return heard, SimpleNamespace(settle=heard.append, fail=heard.append)


def test_one_that_is_asked_again_is_not_told_how_the_last_one_failed(actor):
    """Its actor died between the note that it has begun and the journal."""
    actor.state = State(run=1, error="no such program", error_code=127, settled=True)
    body = m.TasksCreate(token="one", updated_at=5)

    def killed(_):
        raise Killed

    actor.happened = killed
    with pytest.raises(Killed):
        Stepwise(actor).create(body, asking()[1])
    actor.happened = actor.facts.append
    heard, call = asking()
    Stepwise(actor).create(body, call)
    assert (heard, actor.facts) == ([], [life.Create()])


def test_of_two_that_ask_at_the_same_time_one_has_made_it(actor):
    """Both wait for the record. Whoever came second would have put its FIFOs in the place of the other's."""
    stepwise = Stepwise(actor)

    def happened(fact):
        actor.state, _ = life.decide(actor.state, fact)

    actor.happened = happened
    (first, call), (second, other) = asking(), asking()
    stepwise.create(m.TasksCreate(stdout="/first", token="one", updated_at=6), call)
    stepwise.create(m.TasksCreate(stdout="/second", token="two", updated_at=6), other)
    for then in actor.asked:
        then(RECORD)
    assert stepwise.io()["stdout"] == "/first"
    assert (first, [error.code for error in second]) == ([], ["already_exists"])


def test_one_that_comes_twice_before_it_has_begun_is_one(actor):
    """The router it came through has died, and it was sent again."""
    stepwise = Stepwise(actor)
    heard, call = asking()

    def happened(fact):
        actor.facts.append(fact)
        actor.state, _ = life.decide(actor.state, fact)

    actor.happened = happened
    for _ in range(2):
        stepwise.create(m.TasksCreate(token="one", updated_at=6), call)
    for then in actor.asked:
        then(RECORD)
    assert (heard, actor.facts) == ([], [life.Create()])


@pytest.mark.parametrize(("phase", "what"), [("running", "running"), ("exited", "stopped")])
def test_one_that_runs_or_has_run_is_not_let_run_again(actor, phase, what):
    """It is a mistake of who asks, and none of ours."""
    actor.state = State(phase, run=1, pid=5)
    with pytest.raises(RemoteError, match=f"cannot start a {what} process") as raised:
        Stepwise(actor).let_run(m.TasksLetRun("other"), asking()[1])
    assert (raised.value.code, BEGUN in raised.value.details) == ("failed_precondition", True)


def test_why_it_cannot_be_let_run_is_no_mistake_of_ours(actor):
    actor.state = State("running", run=1, pid=5, held=True)
    actor.launcher = SimpleNamespace(start=lambda: None)
    ends = []
    actor.processes = SimpleNamespace(run_runtime=lambda _, then: ends.append(then))
    stepwise = Stepwise(actor)
    heard, call = asking()
    stepwise.let_run(m.TasksLetRun("one"), call)
    ends[0](RuntimeCommandError("exec: nope: not found", exit_code=127))
    assert [(error.code, error.details) for error in heard] == [("failed_precondition", {"exit_code": 127})]
    stepwise.let_run(m.TasksLetRun("one"), call)
    assert len(ends) == 2, "it may be tried again"


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_a_stream_whose_name_can_be_none_is_refused_before_it_is_on_record(actor, name):
    """To open it would end the actor, and the next one, and the next."""
    with pytest.raises(RemoteError, match="is no name of a file") as raised:
        Stepwise(actor).create(m.TasksCreate(**{name: "/a\0b"}, updated_at=5), asking()[1])
    assert (raised.value.code, Stepwise(actor).task) == ("invalid_argument", {})
