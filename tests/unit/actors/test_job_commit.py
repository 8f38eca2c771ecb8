"""A commit has its container stand still, whether that ends meanwhile, goes, or is let go on by somebody."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from actors import messages as m
from actors.jobs import commit
from actors.jobs.commit import standing_still
from transport.errors import RemoteError

RECORD = {"name": "web", "actor": "container/n/c", "task": {"status": "running"}}
NOT_RUNNING = RemoteError("failed_precondition", "container web is not running; see actr ps -a")


class _Context(SimpleNamespace):
    """Whose container is in a phase, and refuses some of what it is asked."""

    def __init__(self) -> None:
        super().__init__(
            phase="running", refused={}, asked=[], namespace="n", job="job/n/1", at=lambda *_: None
        )

    def call(self, body: Any, *, to: str) -> Any:
        assert to == RECORD["actor"]
        self.asked.append(type(body))
        if type(body) in self.refused:
            raise self.refused[type(body)]
        return {"phase": self.phase}


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> _Context:
    monkeypatch.setattr(commit, "RENEW_AFTER", -1.0)
    return _Context()


def test_it_is_frozen_for_longer_and_let_go_on(context: _Context):
    with standing_still(context, RECORD, True) as renew:  # type: ignore[arg-type]
        renew()
    assert context.asked == [m.TasksFreeze, m.TasksFreeze, m.TasksFreeze, m.TasksThaw]


def test_one_that_has_ended_stands_still(context: _Context):
    """Its files stay as they are; a commit that took longer than ten seconds failed over it."""
    with standing_still(context, RECORD, True) as renew:  # type: ignore[arg-type]
        context.phase, context.refused = "exited", {m.TasksFreeze: NOT_RUNNING}
        renew()
    with standing_still(context, RECORD, True) as renew:  # type: ignore[arg-type]
        renew()


@pytest.mark.parametrize("phase", ["running", "starting"])
def test_one_that_somebody_lets_go_on_does_not(context: _Context, phase: str):
    context.phase = phase
    context.refused = {m.TasksFreeze: RemoteError("failed_precondition", "the opposite has been wanted")}
    with pytest.raises(RemoteError, match="the opposite has been wanted"):
        standing_still(context, RECORD, True).__enter__()  # type: ignore[arg-type]


def test_that_it_cannot_be_let_go_on_hides_nothing(context: _Context):
    """It goes on by itself when its time is over, if it is there at all."""
    context.refused = {m.TasksThaw: RemoteError("not_found", "no actor is named container/n/c")}
    with pytest.raises(ZeroDivisionError), standing_still(context, RECORD, True):  # type: ignore[arg-type]
        raise ZeroDivisionError


def test_one_that_has_gone_on_by_the_end_makes_no_image(context: _Context):
    gone_on = RemoteError("failed_precondition", "container web has gone on meanwhile")
    with (
        pytest.raises(RemoteError, match="has gone on meanwhile"),
        standing_still(context, RECORD, True),  # type: ignore[arg-type]
    ):
        context.refused = {m.TasksFreeze: gone_on}
    assert context.asked[-1] is m.TasksThaw
