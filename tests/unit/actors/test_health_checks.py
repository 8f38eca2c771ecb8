"""Checks of a container's health come one after the other, and none goes on for longer than it may."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from actors.execs import Exec
from actors.health import Health, Record
from actors.lifecycle import State
from actors.linux.pidfd import Process
from actors.runtime import bundle as files
from actors.runtime.wishes import HealthWish

if TYPE_CHECKING:
    from pathlib import Path

WISH = HealthWish(("true",), interval=3.0, timeout=7.0)


class _Execs:
    """As much of a container's execs as its health needs."""

    def __init__(self, **known: Exec) -> None:
        self.known = {name.replace("_", "-"): one for name, one in known.items()}
        self.killed: list[str] = []

    def start(self, body: Any, _: Any) -> None:
        self.known[body.exec_id] = Exec()

    def phase(self, name: str) -> str:
        return self.known[name].phase

    def is_under_way(self, name: str) -> bool:
        return name in self.known and not self.known[name].drained

    def kill_if_running(self, name: str) -> None:
        if name in self.known and self.known[name].phase == "running":
            self.killed.append(name)

    def delete(self, name: str) -> None:
        del self.known[name]


class _Actor(SimpleNamespace):
    """A container's actor, whose timers wait for the test."""

    def __init__(self, bundle: Path, execs: _Execs) -> None:
        files.write_health(bundle, WISH)
        running = State("running", run=1, pid=5)
        log = SimpleNamespace(info=lambda *_: None)
        super().__init__(bundle=bundle, execs=execs, state=running, timers=[], log=log, id="c")
        self.streams = SimpleNamespace(files=lambda _: bundle)
        self.frozen = False
        self.freezing = SimpleNamespace(is_idle=lambda: not self.frozen)
        self.reports = SimpleNamespace(report=lambda: None, announce=lambda *_, **__: None)

    def later(self, seconds: float, function: Any) -> None:
        self.timers.append((seconds, function))

    def passes(self) -> float:
        """The oldest timer's time has come."""
        seconds, function = self.timers.pop(0)
        function()
        return seconds


@pytest.fixture
def health(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def made(**known: Exec) -> tuple[Health, _Actor]:
        actor = _Actor(tmp_path, _Execs(**known))
        health = Health(actor)  # type: ignore[arg-type]
        monkeypatch.setattr(health, "_result", lambda _, code: {"exit_code": code})
        return health, actor

    return made


def test_a_check_that_was_under_way_when_the_actor_died_is_the_only_one(health: Any):
    checks, actor = health(health_1_4=Exec(phase="running"))
    checks.record = Record(1, "healthy", checks=4)
    checks.begin()
    assert [seconds for seconds, _ in actor.timers] == [WISH.timeout], "no other check is due beside it"
    actor.passes()
    assert actor.execs.killed == ["health-1-4"]
    checks.ended("health-1-4", 137)
    assert [seconds for seconds, _ in actor.timers] == [WISH.interval]


@pytest.mark.parametrize("known", [{}, {"health_1_4": Exec(phase="exited", drained=True)}])
def test_without_one_under_way_the_next_is_due(health: Any, known: dict[str, Exec]):
    checks, actor = health(**known)
    checks.record = Record(1, "healthy", checks=4)
    checks.begin()
    assert actor.passes() == WISH.interval
    assert actor.execs.phase("health-1-5") == "starting"


def test_a_check_whose_start_takes_longer_than_it_may_is_ended_once_it_runs(health: Any):
    checks, actor = health()
    checks.begin()
    actor.passes()
    assert actor.passes() == WISH.timeout
    actor.execs.known["health-1-1"].phase = "running"
    actor.passes()
    assert actor.execs.killed == ["health-1-1"]
    assert actor.timers == []


@pytest.mark.parametrize("seconds", [-86400, 86400])
def test_a_clock_that_is_set_ends_no_start_period(health: Any, monkeypatch: pytest.MonkeyPatch, seconds: int):
    """As that of a machine without a battery is, a moment after its boot."""
    checks, actor = health()
    own = Process.of(os.getpid())
    actor.state = State("running", run=1, pid=own.pid, start_time=own.start_time, started_at=time.time_ns())
    files.write_health(actor.bundle, replace(WISH, start_period=3600.0, retries=1))
    checks.begin()
    later = time.time_ns() + seconds * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    actor.passes()
    checks.ended("health-1-1", 1)
    assert checks.status == "starting"


def test_nothing_is_left_of_the_limit_of_a_check_that_has_ended(health: Any):
    checks, actor = health()
    checks.begin()
    actor.passes()
    checks.ended("health-1-1", 0)
    actor.passes()
    assert [seconds for seconds, _ in actor.timers] == [WISH.interval]
    assert actor.execs.killed == []


def _paused(actor: _Actor, still: bool) -> None:
    actor.state = replace(actor.state, paused=still)


def _frozen(actor: _Actor, still: bool) -> None:
    actor.frozen = still


@pytest.mark.parametrize("set_still", [_paused, _frozen])
def test_what_stands_still_is_not_checked_and_no_check_is_late(health: Any, set_still: Any):
    """Frozen for a commit it was: the check had failed then, and with a policy its container was ended."""
    checks, actor = health()
    checks.begin()
    set_still(actor, True)
    assert (actor.passes(), actor.execs.known) == (WISH.interval, {})
    set_still(actor, False)
    actor.passes()
    actor.execs.known["health-1-1"].phase = "running"
    set_still(actor, True)
    assert actor.passes() == WISH.timeout
    assert actor.execs.killed == []
    set_still(actor, False)
    assert actor.passes() == WISH.timeout
    assert (actor.execs.killed, actor.timers) == (["health-1-1"], [])


def test_nothing_is_left_of_the_limit_of_a_check_that_ends_while_all_stands_still(health: Any):
    checks, actor = health()
    checks.begin()
    actor.passes()
    checks.ended("health-1-1", 0)
    _paused(actor, True)
    actor.passes()
    assert [seconds for seconds, _ in actor.timers] == [WISH.interval]
