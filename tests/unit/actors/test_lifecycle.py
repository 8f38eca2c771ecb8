from __future__ import annotations

import itertools
from dataclasses import replace
from random import Random

import pytest
from container_world import World
from hypothesis import given
from hypothesis import strategies as st

from actors import lifecycle as life
from actors.lifecycle import State

E = life.Effect
PHASES = ("created", "preparing", "starting", "running", "exited", "removing", "gone")
FACTS = {
    "start": life.Start(),
    "prepared": life.Prepared(),
    "started": life.Started(7, 8, 9),
    "never": life.NeverStarted(),
    "failed": life.Failed("no", 127),
    "exited": life.Exited(3, 10),
    "unknown": life.Exited(None, 10),
    "released": life.Released(),
    "settled": life.Settled(),
    "remove": life.Remove(),
    "removed": life.Removed(),
}
# Phase and fact -> next phase and effects, where nobody wants a removal. The rest changes nothing.
TABLE = {
    ("created", "start"): ("preparing", (E.SAVE, E.PREPARE)),
    ("created", "remove"): ("removing", (E.SAVE, E.REMOVE)),
    ("preparing", "prepared"): ("starting", (E.SAVE, E.START)),
    ("preparing", "failed"): ("created", (E.SAVE, E.REPORT, E.RELEASE)),
    ("preparing", "remove"): ("preparing", (E.SAVE,)),
    ("starting", "started"): ("running", (E.SAVE, E.WATCH, E.REPORT, E.ANNOUNCE_START, E.ANSWER_START)),
    ("starting", "never"): ("preparing", (E.PREPARE,)),
    ("starting", "failed"): ("created", (E.SAVE, E.REPORT, E.RELEASE)),
    ("starting", "exited"): ("exited", (E.SAVE, E.RELEASE)),
    ("starting", "unknown"): ("exited", (E.SAVE, E.RELEASE)),
    ("starting", "remove"): ("starting", (E.SAVE, E.ABANDON)),
    ("running", "start"): ("running", (E.ANSWER_START,)),
    ("running", "exited"): ("exited", (E.SAVE, E.RELEASE)),
    ("running", "unknown"): ("exited", (E.SAVE, E.RELEASE)),
    ("running", "remove"): ("running", (E.SAVE, E.KILL)),
    ("exited", "released"): ("exited", (E.SETTLE,)),
    ("exited", "settled"): ("exited", (E.SAVE, E.ANSWER_START, E.ANSWER_EXIT)),
    ("exited", "remove"): ("exited", (E.SAVE,)),
    ("removing", "removed"): ("gone", (E.ANSWER_START, E.ANSWER_EXIT, E.ANSWER_REMOVED, E.FINISH)),
    ("gone", "remove"): ("gone", (E.ANSWER_REMOVED,)),
}


@pytest.mark.parametrize(("phase", "fact"), list(itertools.product(PHASES, FACTS)))
def test_each_fact_in_each_phase(phase, fact):
    before = State(phase=phase, run=1)
    after, effects = life.decide(before, FACTS[fact])
    assert (after.phase, effects) == TABLE.get((phase, fact), (phase, ()))
    if (phase, fact) not in TABLE:
        assert after == before


@pytest.mark.parametrize(
    ("state", "effects"),
    [
        (State(phase="created", error="no", run=1, settled=True), (E.ANSWER_START,)),
        (State(phase="preparing", run=1), ()),
        (State(phase="starting", run=1), ()),
        (State(phase="running", run=1), (E.ANSWER_START,)),
        (State(phase="exited", run=1), ()),  # answered once it is settled
        (State(phase="exited", run=1, settled=True), (E.ANSWER_START,)),
        (State(phase="exited", run=2, settled=True), (E.ANSWER_START,)),
        (State(phase="removing", run=1), ()),
        (State(phase="gone", run=1), (E.ANSWER_START,)),
    ],
)
def test_a_run_that_has_begun_is_not_begun_again(state, effects):
    assert life.refuse_start(state, 1) == ""
    assert life.decide(state, life.Start(1)) == (state, effects)


@pytest.mark.parametrize("run", [0, 2])
def test_the_next_run_begins(run):
    after, effects = life.decide(State(phase="exited", run=1, settled=True), life.Start(run))
    assert (after.phase, after.run, effects) == ("preparing", 2, (E.SAVE, E.PREPARE))


@pytest.mark.parametrize(
    ("state", "effects"),
    [
        (State(), ()),
        (State(phase="preparing"), (E.PREPARE,)),
        (State(phase="starting"), (E.INSPECT,)),
        (State(phase="running"), (E.WATCH, E.REPORT, E.ANNOUNCE_START)),
        (State(phase="running", remove=True), (E.WATCH, E.REPORT, E.ANNOUNCE_START, E.KILL)),
        (State(phase="running", remove=True, halted=True), (E.WATCH, E.REPORT, E.ANNOUNCE_START, E.KILL)),
        (State(phase="running", halted=True), (E.WATCH, E.REPORT, E.ANNOUNCE_START, E.STOP)),
        (State(phase="running", again=True), (E.WATCH, E.REPORT, E.ANNOUNCE_START, E.STOP)),
        (State(phase="running", cause="unhealthy"), (E.WATCH, E.REPORT, E.ANNOUNCE_START, E.STOP)),
        (State(phase="exited"), (E.RELEASE,)),
        (State(phase="exited", settled=True), ()),
        (State(error="no"), (E.REPORT, E.RELEASE)),
        (State(error="no", settled=True), ()),
        (State(phase="removing"), (E.REMOVE,)),
        (State(phase="gone"), (E.FINISH,)),
    ],
)
def test_a_new_incarnation_goes_on_where_the_journal_ends(state, effects):
    assert life.decide(state, life.Loaded(start=False)) == (state, effects)


def test_what_is_wanted_running_starts_once():
    started, effects = life.decide(State(), life.Loaded(start=True))
    assert (started.phase, started.run, effects) == ("preparing", 1, (E.SAVE, E.PREPARE))
    for over in (State(phase="exited", settled=True), State(error="no", settled=True)):
        assert life.decide(over, life.Loaded(start=True)) == (over, ())


@pytest.mark.parametrize(
    ("state", "phase", "effects"),
    [
        (State(), "removing", (E.SAVE, E.REMOVE)),
        (State(phase="preparing"), "preparing", (E.PREPARE,)),
        (State(phase="running"), "running", (E.WATCH, E.REPORT, E.ANNOUNCE_START, E.KILL)),
        (State(phase="exited"), "exited", (E.RELEASE,)),
        (State(error="no"), "created", (E.REPORT, E.RELEASE)),
        (State(phase="exited", settled=True), "removing", (E.SAVE, E.REMOVE)),
        (State(phase="removing"), "removing", (E.REMOVE,)),
    ],
)
def test_what_is_wanted_gone_goes_on_to_its_removal(state, phase, effects):
    after, done = life.decide(state, life.Loaded(start=True, removed=True))
    assert (after.phase, done) == (phase, effects)
    assert after.remove or state.phase == "removing"


def test_a_removal_overtakes_a_start_that_is_under_way():
    for phase, fact in (("preparing", life.Prepared()), ("starting", life.NeverStarted())):
        after, effects = life.decide(State(phase=phase, remove=True), fact)
        assert (after.phase, effects) == ("created", (E.SAVE, E.REPORT, E.RELEASE))
        after, effects = life.decide(after, life.Released())
        assert (after.phase, effects) == ("removing", (E.SAVE, E.REMOVE))


def test_a_failed_start_is_cleared_away_before_the_next():
    failed, _ = life.decide(State(phase="starting", run=1), life.Failed("", 127))
    assert failed.error
    assert "try again" in life.refuse_start(failed)
    assert life.decide(failed, life.Start()) == (failed, ())
    settled, effects = life.decide(failed, life.Released())
    assert effects == (E.SAVE, E.ANSWER_START, E.ANSWER_EXIT)
    assert not life.refuse_start(settled)
    again, effects = life.decide(settled, life.Start())
    assert (again, effects) == (State(phase="preparing", run=2), (E.SAVE, E.PREPARE))


def test_a_process_that_nobody_saw_end_has_an_unknown_exit_code():
    lost = life.Loaded(start=True, lost=True, at=5)
    exited, effects = life.decide(State(), lost)
    assert (exited.phase, exited.known, exited.exited_at, effects) == (
        "exited",
        False,
        5,
        (E.SAVE, E.RELEASE),
    )
    running = State(phase="running", run=2)
    assert life.decide(running, lost)[0] == running


TASK = {"status": "stopped", "started_at": 3, "exited_at": 4, "exit_code": 9, "error": ""}


def test_after_a_reboot_what_had_ended_has_still_ended():
    state = life.remembered(State(), TASK)
    assert (state.phase, state.exit_code, state.known, state.settled) == ("exited", 9, True, True)
    assert life.decide(state, life.Loaded(start=True)) == (state, ())
    assert not life.remembered(State(), {**TASK, "exit_code": None}).known
    failed = life.remembered(State(), {**TASK, "status": "created", "error": "no"})
    assert life.decide(failed, life.Loaded(start=True)) == (failed, ())
    removable = life.remembered(State(auto_remove=True), TASK)
    assert life.decide(removable, life.Loaded(start=True))[1] == (E.RELEASE,)


def test_a_journal_says_more_than_what_was_reported():
    journalled = State(phase="running", run=2)
    assert life.remembered(journalled, TASK) == journalled
    assert life.remembered(State(), {}) == State()


def test_refusals():
    assert life.refuse_remove(State(phase="running"), force=False)
    assert not life.refuse_remove(State(phase="running"), force=True)
    assert not life.refuse_remove(State(phase="exited"), force=False)
    for phase in ("removing", "gone"):
        assert "removed" in life.refuse_start(State(phase=phase))
    assert "removed" in life.refuse_start(State(phase="running", remove=True))


def _checked(world: World) -> World:
    runs = world.began - world.uninspected
    assert runs <= world.announced, f"exits nobody heard of: {runs - world.announced}"
    assert world.announced <= world.start_announced
    assert not world.alive
    if (world.auto_remove and world.state.run) or world.wanted_removed:
        assert world.forgotten
        assert world.finished
    return world


def test_a_hundred_thousand_effects_with_crashes_between_them():
    steps = kills = runs = seed = 0
    while steps < 100_000:
        random = Random(seed)  # noqa: S311  # reproducible
        world = World(random, auto_remove=random.random() < 0.3, crashes=random.choice((0.0, 0.03, 0.15)))
        world.restart()
        for _ in range(120):
            if world.finished:
                break
            world.step()
        world.settle()
        _checked(world)
        steps, kills, runs, seed = (
            steps + world.steps, kills + world.kills, runs + len(world.began), seed + 1,
        )  # fmt: skip
    assert kills > 5_000
    assert runs > 2_000


@given(
    st.sampled_from(PHASES),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", "no"]),
    st.booleans(),
    st.lists(st.sampled_from(sorted(FACTS)), max_size=6),
)
def test_no_order_of_facts_is_too_odd(phase, remove, auto_remove, error, settled, facts):
    state = State(phase=phase, run=1, remove=remove, auto_remove=auto_remove, error=error, settled=settled)
    for fact in facts:
        before = state
        state, effects = life.decide(state, FACTS[fact])
        durable = replace(before, phase=state.phase) != state or before.phase != state.phase
        unjournalled = state.phase == "gone" or (before.phase, state.phase) == ("starting", "preparing")
        if durable and not unjournalled:
            assert effects[0] is E.SAVE
        assert state.run >= before.run
        assert not before.remove or state.remove or state.phase == "preparing"


def test_a_runtime_that_hangs_is_not_waited_for_by_who_wants_the_end():
    starting = State(phase="starting", run=1)
    assert life.decide(starting, life.Stop())[1] == (E.SAVE, E.ABANDON)
    halted, effects = life.decide(State(phase="preparing", run=1), life.Stop())
    assert effects == (E.SAVE,), "no runtime is under way"
    assert life.decide(halted, life.Prepared())[1] == (E.SAVE, E.START, E.ABANDON)
    assert life.decide(replace(starting, remove=True), life.Loaded(start=True))[1] == (E.INSPECT, E.ABANDON)
    assert life.decide(starting, life.Loaded(start=True))[1] == (E.INSPECT,)
