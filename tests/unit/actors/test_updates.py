"""A policy that a container is given later holds over a reboot as one that it was created with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from actors import lifecycle as life
from actors import messages as m
from actors.container_requests import Requests
from actors.control import Control
from actors.lifecycle import State


class _Container(Requests):
    """Whose questions wait for the test."""

    def __init__(self, state: State) -> None:
        self.namespace, self.id, self.state, self.asked = "n", "c", state, []
        self.record = {"name": "web", "options": {}}
        self.control = Control(self)  # type: ignore[arg-type]

    def happened(self, fact: Any) -> None:
        self.state, _ = life.decide(self.state, fact)

    def ask(self, body: Any, then: Any, **_: Any) -> None:
        self.asked.append((body, then))

    def is_recorded(self) -> Any:
        (body, then) = self.asked.pop(0)
        then({})
        return body


def _update(container: _Container, policy: str) -> list[Any]:
    answers: list[Any] = []
    call = SimpleNamespace(reply=answers.append, fail=answers.append)
    container.tasks_update(m.TasksUpdate({"restart": {"policy": policy}}), call)  # type: ignore[arg-type]
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
