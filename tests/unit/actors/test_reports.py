"""What a container's actor reports is newer than what was reported before, and begins with the start."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from actors.lifecycle import Settled, State
from actors.messages import NewEvent
from actors.reports import Reports
from transport.errors import RemoteError


class _Actor(SimpleNamespace):
    """As much of a container's actor as reports need."""

    def ask(self, body: Any, then: Any, **_: Any) -> None:
        self.asked.append(body)
        self.answers.append(then)

    def later(self, _seconds: float, function: Any) -> None:
        function()

    def soon(self, function: Any) -> None:
        function()

    def happened(self, fact: Any) -> None:
        self.facts.append(fact)


def _reports(recorded: dict[str, Any] | None) -> tuple[Reports, list[Any]]:
    asked: list[Any] = []
    actor = _Actor(namespace="n", id="c", record={"task": recorded, "created_at": 7}, state=State("running"),
        asked=asked, answers=[], facts=[], log=logging.getLogger("test"), health=SimpleNamespace(status=""),
        removal=SimpleNamespace(told_with_exit=list), retires_at_once=lambda: False,
    )  # fmt: skip
    return Reports(actor), asked  # type: ignore[arg-type]


@pytest.mark.parametrize("recorded", [None, {"revision": 2**62}])
def test_a_report_is_newer_than_all_before_it_though_the_clock_went_back(
    monkeypatch: pytest.MonkeyPatch, recorded: dict[str, Any] | None
):
    reports, asked = _reports(recorded)
    for now in (10**18, 10**18 - 3600 * 10**9, 10**18, 5):
        monkeypatch.setattr(time, "time_ns", lambda now=now: now)
        reports.report()
    revisions = [body.revision for body in asked]
    assert revisions == sorted(set(revisions))
    assert revisions[0] > (recorded or {}).get("revision", 0)


EXITED = State("exited", run=1, pid=5, started_at=11, exited_at=12, exit_code=3)


class _Told:
    """A run from its start to its end; what is said is heard when the test says so."""

    def __init__(self) -> None:
        self.reports, self.asked = _reports(None)
        self.actor: Any = self.reports._actor
        self.actor.state = EXITED

    @property
    def topics(self) -> list[list[str]]:
        """Of each request to publish."""
        told = [body for body in self.asked if hasattr(body, "topic")]
        return [[body.topic, *(one.topic for one in body.further)] for body in told]

    def heard(self, result: Any = None) -> None:
        """The oldest that was not."""
        self.actor.answers.pop(0)(result or {})


def test_an_end_is_told_with_the_start_until_that_was_heard():
    told = _Told()
    told.reports.announce_start()
    told.reports.settle()
    told.actor.answers.append(told.actor.answers.pop(0))  # metadata is quicker than events
    told.heard()
    assert told.topics == [["/tasks/start"], ["/tasks/start", "/tasks/exit"]]
    first, again = (body for body in told.asked if hasattr(body, "topic"))
    assert (first.key, first.body, first.at) == (again.key, again.body, again.at), "it is one event"
    told.heard()
    assert not told.actor.facts
    told.heard()
    assert told.actor.facts == [Settled()]


def test_an_end_is_told_alone_once_the_start_was_heard():
    told = _Told()
    told.reports.announce_start()
    told.heard()
    told.reports.settle()
    told.heard()
    assert told.topics == [["/tasks/start"], ["/tasks/exit"]]


def test_an_end_that_was_not_heard_is_told_again_with_the_start():
    told = _Told()
    told.reports.settle()  # the last incarnation may not have told that
    told.heard()
    told.heard(RemoteError("unavailable", "events ended"))
    assert not told.actor.facts
    told.heard()
    assert told.topics == [["/tasks/start", "/tasks/exit"]] * 2
    told.heard()
    assert told.actor.facts == [Settled()]


def test_a_kill_is_told_between_start_and_end():
    told = _Told()
    told.actor.state = State("exited", run=1, pid=5, started_at=11, exited_at=12, exit_code=137, oom=True)
    told.reports.announce_oom(12)
    told.heard()
    told.reports.settle()
    told.heard()
    assert told.topics == [["/tasks/oom"], ["/tasks/start", "/tasks/oom", "/tasks/exit"]]


def test_what_was_held_to_its_end_has_never_started():
    told = _Told()
    told.actor.state = State("exited", run=1, pid=5, started_at=11, exited_at=12, held=True)
    told.reports.settle()
    told.heard()
    assert told.topics == [["/tasks/exit"]]


def test_that_one_goes_is_told_in_one_with_its_exit():
    run = _Told()
    going = [NewEvent("/containers/delete", "k", {}, 13)]
    run.actor.removal = SimpleNamespace(told_with_exit=lambda: going, announced=False)
    run.reports.announce_start()
    run.heard()
    run.reports.settle()
    run.heard()
    assert run.topics[-1] == ["/tasks/exit", "/containers/delete"]
    assert not run.actor.removal.announced
    run.heard()
    assert run.actor.removal.announced


def test_of_one_that_ended_before_it_was_watched_and_retires_only_the_end_is_told():
    run = _Told()
    run.actor.state, run.actor.retires_at_once = State("running", run=1, pid=5, started_at=11), lambda: True
    run.reports.report()
    run.reports.announce_start()
    run.reports.announce_oom(12)
    assert not run.asked
    run.actor.state, run.actor.retires_at_once = replace(EXITED, oom=True), lambda: False
    run.reports.begin_to_settle(final=True)
    run.heard()
    [record, _] = run.asked
    assert (record.status, record.started_at, record.exit_code, record.final) == ("stopped", 11, 3, True)
    assert run.topics == [["/tasks/start", "/tasks/oom", "/tasks/exit"]]


def test_what_has_been_heard_is_not_told_again_by_the_next_incarnation():
    """An actor that wakes after days told of its start, which the journal of events had forgotten by then."""
    told = _Told()
    told.actor.state = State("running", run=1, pid=5, started_at=11, stands=True, turned_at=12)
    for announce in (told.reports.announce_start, told.reports.announce_turn):
        announce()
        told.heard()
    told.reports.announce_oom(13)
    told.heard(RemoteError("unavailable", "no events"))
    after = Reports(told.actor)
    after.from_journal(json.loads(json.dumps(told.reports.to_journal())))
    told.asked.clear()
    for again in (after.announce_start, after.announce_turn, lambda: after.announce_oom(13)):
        again()
    assert told.topics == [["/tasks/oom"]]
    told.actor.state = replace(told.actor.state, stands=False, turned_at=14)
    after.announce_turn()
    assert told.topics[1:] == [["/tasks/resumed"]]
