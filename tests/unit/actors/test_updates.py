"""What a container is given later holds: limits for the run that is being started, a policy over a reboot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from journalled import at_once

from actors import lifecycle as life
from actors import messages as m
from actors.container import ContainerActor
from actors.container_requests import Requests
from actors.control import Control
from actors.lifecycle import State
from transport.errors import RemoteError


class _Container(Requests):
    """Whose questions wait for the test."""

    def __init__(self, state: State) -> None:
        self.namespace, self.id, self.state, self.asked = "n", "c", state, []
        self.record = {"name": "web", "options": {}}
        self.control = Control(self)  # type: ignore[arg-type]

    when_saved = staticmethod(at_once)  # type: ignore[assignment]

    def happened(self, fact: Any) -> None:
        self.state, _ = life.decide(self.state, fact)

    def ask(self, body: Any, then: Any, **_: Any) -> None:
        self.asked.append((body, then))

    def is_recorded(self) -> Any:
        (body, then) = self.asked.pop(0)
        then({})
        return body


def _update(container: _Container, policy: str = "", **limits: Any) -> list[Any]:
    answers: list[Any] = []
    call = SimpleNamespace(reply=answers.append, fail=answers.append)
    options = {"restart": {"policy": policy}} if policy else limits
    container.tasks_update(m.TasksUpdate(options), call)  # type: ignore[arg-type]
    assert isinstance(container.is_recorded(), m.ContainersUpdate)
    return answers


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        (State("running", run=1, pid=5, start_time=6), "running"),  # created, then started
        (State("exited", run=1, settled=True), "running"),
        (State("exited", run=1, settled=True, halted=True), "stopped"),  # run, then stopped
        (State(), "stopped"),
    ],
)
def test_what_is_wanted_is_on_record_once_somebody_asks_for_it(state: State, wanted: str):
    container = _Container(state)
    answers = _update(container, "always")
    assert answers == []
    assert container.is_recorded() == m.ContainersWant("n", "c", wanted)
    assert answers == [{}]
    assert container.state.policy == "always"


@pytest.mark.parametrize(("before", "after"), [("always", "on-failure"), ("always", "no"), ("no", "no")])
def test_else_it_is_there_already_or_nobody_asks(before: str, after: str):
    container = _Container(State("running", run=1, pid=5, start_time=6, policy=before))
    assert _update(container, after) == [{}]
    assert container.asked == []


@pytest.mark.parametrize("phase", ["preparing", "starting"])
def test_a_limit_is_asked_for_again_once_the_run_that_may_not_know_of_it_has_started(phase: life.Phase):
    container = _Container(State(phase, run=1))
    (error,) = _update(container, memory=96 << 20)
    assert (error.code, container.record["options"]) == ("unavailable", {"memory": 96 << 20})
    assert "container web is only just being started" in str(error)


def test_a_policy_need_not_wait_for_a_start():
    assert _update(_Container(State("starting", run=1, policy="always")), "no") == [{}]


class _Restored(_Container):
    """Where criu works."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._wants_start: list[Any] = []
        self.copying = SimpleNamespace(mounted=0)  # type: ignore[assignment]
        self.launcher = SimpleNamespace(restore_from=None)
        self.processes = SimpleNamespace(run_runtime=lambda _, then: then(None))

    def restore(self, place: str = "/checkpoint") -> list[Any]:
        failed: list[Any] = []
        call = SimpleNamespace(fail=failed.append)
        self.tasks_restore(m.TasksRestore(place), call)  # type: ignore[arg-type]
        return failed


def test_a_restore_is_the_next_start_and_the_same_one_if_it_is_asked_for_again():
    container = _Restored(State())
    assert container.restore() == []
    assert (container.state.phase, container.launcher.restore_from) == ("preparing", Path("/checkpoint"))
    container.launcher.restore_from = None  # the runtime has been given it
    container.state = replace(container.state, phase="starting")
    assert container.restore() == []
    assert (len(container._wants_start), container.launcher.restore_from) == (2, None)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (State("running", run=1, pid=5), "is running"),
        (State("exited", run=1), "has just exited and is being cleaned up"),
        (State("removing", run=1, remove=True), "is being removed"),
    ],
)
def test_a_restore_that_cannot_be_is_an_answer_and_no_later_start_is_one(state: State, why: str):
    """It ended the actor; or, beside what ran, the next start of all was made from the checkpoint."""
    container = _Restored(state)
    assert [why in str(error) for error in container.restore()] == [True]
    assert (container.state, container.launcher.restore_from) == (state, None)


def test_a_restore_whose_bundle_cannot_be_made_is_over():
    container = _Preparing()
    container.launcher = SimpleNamespace(restore_from=Path("/checkpoint"))  # type: ignore[assignment]
    container._make_bundle()
    (_, made) = container.asked.pop()
    made(RemoteError("failed_precondition", "no such image"))
    assert (container.state.error, container.launcher.restore_from) == ("no such image", None)


class _Preparing(_Container, ContainerActor):
    """What it asks for a bundle, and hears of it."""

    def __init__(self) -> None:
        _Container.__init__(self, State("preparing", run=1))
        fields = ("image", "image_digest", "snapshotter", "runtime", "auto_remove")
        self.record |= dict.fromkeys(fields, "")
        self.record["options"] = {"network": {"networks": [{"network": "bridge"}]}}
        self.removal = SimpleNamespace(volumes=True)  # type: ignore[assignment]
        self.streams = SimpleNamespace(open=lambda _: None)  # type: ignore[assignment]


@pytest.mark.parametrize("first", ["name", "bundle"])
def test_one_that_is_renamed_while_it_is_prepared_is_known_by_that_name(first: str):
    """Its network may have heard of the new name before it knew the container, and then of the old one."""
    container, answers = _Preparing(), []
    container._make_bundle()
    call: Any = SimpleNamespace(reply=answers.append)
    container.containers_rename(m.ContainersRename("shop"), call)
    (make, made), (_, recorded) = container.asked
    container.asked.clear()
    assert make.name == "web"
    answer = {"volumes": False, "stop_signal": ""}
    for then, result in [(recorded, {}), (made, answer)][:: 1 if first == "name" else -1]:
        then(result)
    told = [body for body, _ in container.asked if isinstance(body, m.NetworkRename)]
    assert told == [m.NetworkRename("n", "c", "shop")] * (2 if first == "name" else 1)
    container.is_recorded()
    assert (answers, container.state.phase) == ([{"name": "shop"}], "starting")


def test_one_that_keeps_its_name_says_nothing_of_it():
    container = _Preparing()
    container._make_bundle()
    (_, made) = container.asked.pop()
    made({"volumes": False, "stop_signal": ""})
    assert container.asked == []
