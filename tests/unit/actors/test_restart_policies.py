"""Restart policies as decisions: when a run is followed by another, and that a person has the last word."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from actors.container import ContainerActor
from actors.health import Record, judge
from actors.lifecycle import (
    Effect,
    Ended,
    Exited,
    Loaded,
    Pause,
    Policy,
    Released,
    RestartDue,
    Settled,
    Started,
    State,
    Stop,
    decide,
    exit_reason,
    pause_before_restart,
    remembered,
)
from actors.runtime.wishes import HealthWish

RUNNING = State("running", run=1, pid=5, start_time=6, started_at=7)


def over(
    state: State, code: int | None = 1, *, at: int = 8, oom: bool = False, lasted: float = 0.0
) -> tuple[State, list[Effect]]:
    """The state after the end of a run, and what is to be done last."""
    effects: tuple[Effect, ...] = ()
    for fact in (Exited(code, at, oom, lasted), Released(), Settled()):
        state, effects = decide(state, fact)
    return state, list(effects)


@pytest.mark.parametrize(
    ("policy", "tries", "restarts", "code", "again"),
    [
        ("no", 0, 0, 1, False),
        ("on-failure", 0, 0, 1, True),
        ("on-failure", 0, 0, 0, False),
        ("on-failure", 0, 0, None, True),
        ("on-failure", 2, 1, 1, True),
        ("on-failure", 2, 2, 1, False),
        ("always", 0, 99, 0, True),
        ("unless-stopped", 0, 0, 0, True),
    ],
)
def test_when_a_run_is_followed_by_another(
    policy: str, tries: int, restarts: int, code: int | None, again: bool
):
    state, effects = over(replace(RUNNING, policy=policy, tries=tries, restarts=restarts), code)
    assert (Effect.RESTART in effects) is again
    assert Effect.ANSWER_EXIT in effects, "who waits is told of each exit"
    begun, _ = decide(state, RestartDue(1))
    assert begun.phase == ("preparing" if again else "exited")
    if again:
        assert (begun.run, begun.restarts, begun.policy, begun.tries) == (2, restarts + 1, policy, tries)


@pytest.mark.parametrize("policy", ["on-failure", "always", "unless-stopped"])
def test_what_a_person_has_stopped_stays_so(policy: str):
    running = replace(RUNNING, policy=policy)
    stopped, effects = decide(running, Stop())
    assert effects == (Effect.SAVE,), "journalled before the signal"
    state, effects = over(stopped)
    assert Effect.RESTART not in effects
    assert decide(state, RestartDue(1)) == (state, ())
    assert Effect.RESTART not in decide(state, Loaded(start=False))[1]
    assert exit_reason(state) == "stopped"
    between, effects_between = over(running)
    assert Effect.RESTART in effects_between
    halted, _ = decide(between, Stop())
    assert decide(halted, RestartDue(1)) == (halted, ())


def test_a_stop_during_a_start_ends_it():
    stopped, _ = decide(replace(RUNNING, phase="starting"), Stop())
    assert Effect.KILL in decide(stopped, Started(5, 6, 7))[1]


def test_a_restart_during_a_start_ends_it_and_is_answered_with_the_next():
    asked, _ = decide(replace(RUNNING, phase="starting"), Stop(again=True))
    running, effects = decide(asked, Started(5, 6, 7))
    assert Effect.KILL in effects, "else it would be started anew whenever it ends by itself"
    assert Effect.ANSWER_START not in effects
    state, _ = over(running, 137)
    assert (state.phase, state.run, state.again) == ("preparing", 2, False)


def test_a_restart_by_a_person_is_one_start():
    asked, _ = decide(RUNNING, Stop(again=True))
    state, effects = over(asked, 0)
    assert state.phase == "preparing"
    assert state.run == 2
    assert not state.again
    assert effects == [Effect.ANSWER_EXIT, Effect.SAVE, Effect.PREPARE]


def test_a_policy_survives_the_death_of_the_actor_and_of_the_journal():
    state, _ = over(replace(RUNNING, policy="always"))
    assert decide(state, Loaded(start=False))[1] == (Effect.RESTART,)
    task = {"status": "stopped", "exit_code": 0, "started_at": 1, "exited_at": 2, "error": ""}
    rebooted = remembered(State(policy="always"), task)
    assert decide(rebooted, Loaded(start=True))[1] == (Effect.RESTART,)
    halted = remembered(State(policy="always", halted=True), task)
    assert decide(halted, Loaded(start=False))[1] == ()


def test_the_timer_of_an_earlier_run_starts_nothing():
    state, _ = over(replace(RUNNING, policy="always", run=3))
    assert decide(state, RestartDue(2)) == (state, ())


def test_pauses_grow_and_begin_anew_after_a_healthy_run():
    pauses = [pause_before_restart(State(restarts=count)) for count in range(20)]
    assert pauses[:3] == [0.1, 0.2, 0.4]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 30.0
    long_run, _ = over(replace(RUNNING, policy="always", restarts=9), lasted=11.0)
    assert long_run.restarts == 0


@pytest.mark.parametrize("step", [-3600, 3600])
def test_a_clock_that_is_set_makes_no_run_shorter_or_longer(step: int):
    """One that is set forward would have had a container that fails at once started without a pause."""
    before, at = replace(RUNNING, policy="always", restarts=9), RUNNING.started_at + step * 10**9
    assert over(before, at=at, lasted=0.1)[0].restarts == 9
    assert over(before, at=at, lasted=11.0)[0].restarts == 0


def test_how_long_a_run_has_lasted_is_told_by_the_clock_since_the_boot():
    """That of its process's start."""
    ago = time.clock_gettime(time.CLOCK_BOOTTIME) - 100.0
    state = replace(RUNNING, start_time=int(ago * os.sysconf("SC_CLK_TCK")))
    heard: list[Exited] = []
    part = SimpleNamespace(before_exit=lambda _: None, happened=lambda: False, end=lambda: None)
    actor = SimpleNamespace(state=state, stepwise=part, oom=part, freezing=part, happened=heard.append)
    ContainerActor._ended(actor, 1, 8)  # type: ignore[arg-type]
    assert [fact.lasted >= 100.0 for fact in heard] == [True]


def test_pausing_ends_with_the_run_and_policies_can_change():
    paused, effects = decide(RUNNING, Pause(paused=True))
    assert effects == (Effect.SAVE,)
    assert decide(paused, Pause(paused=True)) == (paused, ())
    assert not over(paused)[0].paused
    assert decide(RUNNING, Policy("always", 0))[0].policy == "always"


def test_why_a_run_is_over():
    assert exit_reason(over(RUNNING, 137, oom=True)[0]) == "out of memory"
    assert exit_reason(over(RUNNING, 0, oom=True)[0]) == "exited"
    assert exit_reason(over(RUNNING, None)[0]) == "nothing watched when it ended"
    assert exit_reason(over(decide(RUNNING, Ended("unhealthy"))[0])[0]) == "unhealthy"
    assert exit_reason(RUNNING) == ""


def test_so_many_failures_in_a_row_are_unhealthy():
    wish = HealthWish(("true",), retries=2, start_period=5.0)
    record = Record(1, "starting")
    assert judge(record, wish, well=False, since_start=1.0) == record, "still starting"
    once = judge(record, wish, well=False, since_start=6.0)
    assert (once.status, once.failures) == ("starting", 1)
    twice = judge(once, wish, well=False, since_start=7.0)
    assert twice.status == "unhealthy"
    well = judge(twice, wish, well=True, since_start=8.0)
    assert (well.status, well.failures) == ("healthy", 0)
