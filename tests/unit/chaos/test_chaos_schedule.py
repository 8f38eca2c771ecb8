"""The schedule is drawn from its seed alone, and comes back from its file as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos import schedule


@given(seed=st.integers(0, 2**32), faults=st.integers(1, 60))
def test_the_same_seed_draws_the_same_schedule(seed: int, faults: int):
    steps = schedule.draw(seed, faults)
    assert steps == schedule.draw(seed, faults)
    assert sum(len(step.faults) for step in steps) >= faults
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))


@given(seed=st.integers(0, 2**32))
def test_faults_of_the_whole_daemon_come_alone_and_are_healed(seed: int):
    for step in schedule.draw(seed, 80):
        kinds = {fault.kind for fault in step.faults}
        if kinds & schedule.WHOLE:
            assert len(step.faults) == 1
            assert step.settle
        for fault in step.faults:
            assert fault.seconds <= schedule.PAUSE_LIMIT
            assert bool(fault.target) == (fault.kind not in schedule.WHOLE | schedule.MACHINE)


def test_every_kind_and_every_target_is_drawn():
    faults = [fault for step in schedule.draw(1, 2000) for fault in step.faults]
    assert {fault.kind for fault in faults} == set(schedule.KINDS)
    assert {fault.target for fault in faults} - {""} == set(schedule.VICTIMS)


def test_only_the_kinds_that_are_asked_for():
    steps = schedule.draw(7, 50, {"kill": 1})
    assert {fault.kind for step in steps for fault in step.faults} == {"kill"}


@given(seed=st.integers(0, 2**32))
def test_what_was_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, seed: int):
    path = tmp_path_factory.mktemp("schedule") / "schedule.json"
    steps = schedule.draw(seed, 30)
    schedule.write(path, seed, steps)
    assert schedule.read(path) == (seed, steps)


def test_a_file_of_another_version_is_refused(tmp_path):
    path = tmp_path / "schedule.json"
    path.write_text('{"version": 99, "seed": 1, "steps": []}')
    with pytest.raises(ValueError, match="version 99"):
        schedule.read(path)
