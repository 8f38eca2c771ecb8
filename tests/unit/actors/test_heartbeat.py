"""Who is asked, and who hangs: without a process, a socket or a clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.zygote.heartbeat import AT_ONCE, START_LIMIT, Heartbeats

LIMIT = 10.0


def _listening(*pids: int, many: bool = False) -> Heartbeats:
    beats = Heartbeats(LIMIT)
    for pid in pids:
        beats.born(pid, 1000.0, many=many)
        beats.listens(pid)
    return beats


def _rounds(beats: Heartbeats, begin: float, end: float, *answering: int) -> set[int]:
    """Rounds at their interval, each question to `answering` answered at once; returns who hung."""
    hung: set[int] = set()
    now = begin
    while now < end:
        asked, hanging = beats.round(now)
        hung.update(hanging)
        for pid in asked:
            if pid in answering:
                beats.answered(pid)
        now += beats.interval
    return hung


def test_one_who_answers_never_hangs():
    assert _rounds(_listening(1), 1000.0, 2000.0, 1) == set()


def test_one_who_does_not_answer_hangs_after_the_limit_and_not_before():
    beats = _listening(1, 2)
    assert _rounds(beats, 1000.0, 1000.0 + LIMIT + beats.interval, 2) == set()
    assert _rounds(beats, 1000.0 + LIMIT + beats.interval, 1020.0, 2) == {1}


def test_one_who_hangs_is_named_until_it_has_ended():
    beats = _listening(1)
    _rounds(beats, 1000.0, 1020.0)
    assert beats.round(1020.0) == ([], [1])
    assert beats.round(1022.0) == ([], [1])
    beats.gone(1)
    assert beats.round(1024.0) == ([], [])


def test_a_late_answer_clears_it():
    beats = _listening(1)
    _rounds(beats, 1000.0, 1020.0)
    beats.answered(1)
    assert beats.round(1020.0) == ([1], [])


def test_only_one_question_is_open():
    beats = _listening(1)
    assert beats.round(1000.0)[0] == [1]
    assert beats.round(1002.5)[0] == []
    assert beats.round(1005.0)[0] == []


def test_before_it_can_be_asked_the_start_limit_rules():
    beats = Heartbeats(LIMIT)
    beats.born(1, 1000.0, many=False)
    assert _rounds(beats, 1000.0, 1000.0 + START_LIMIT) == set()
    assert _rounds(beats, 1000.0 + START_LIMIT, 1036.0) == {1}


def test_one_who_is_busy_has_said_so():
    beats = _listening(1)
    assert beats.round(1000.0)[0] == [1]
    beats.busy(1, 1100.0)
    assert _rounds(beats, 1002.5, 1100.0 + LIMIT) == set()
    assert _rounds(beats, 1100.0 + LIMIT, 1120.0) == {1}


def test_one_who_is_no_longer_busy_has_the_usual_limit():
    beats = _listening(1)
    assert beats.round(1000.0)[0] == [1]
    beats.busy(1, 5000.0)
    beats.busy(1, 1010.0)  # done, and stuck
    assert _rounds(beats, 1002.5, 1010.0 + LIMIT) == set()
    assert _rounds(beats, 1020.0, 1030.0) == {1}


def test_when_it_was_the_zygote_that_was_stopped_nobody_is_blamed():
    beats = _listening(1)
    assert beats.round(1000.0) == ([1], [])
    assert beats.round(5000.0) == ([], [])
    assert _rounds(beats, 5002.5, 5020.0) == {1}


def test_of_many_only_so_many_are_asked_in_one_round_and_all_in_turn():
    pids = range(1, 3 * AT_ONCE + 1)
    beats = _listening(*pids, many=True)
    beats.born(9999, 1000.0, many=False)
    beats.listens(9999)
    seen: list[int] = []
    for number in range(3):
        asked, _ = beats.round(1000.0 + number * beats.interval)
        assert len([pid for pid in asked if pid != 9999]) == AT_ONCE
        seen += asked
        for pid in asked:
            beats.answered(pid)
    assert set(seen) == {*pids, 9999}


def test_what_is_said_of_a_stranger_changes_nothing():
    beats = Heartbeats(LIMIT)
    beats.listens(7)
    beats.answered(7)
    beats.busy(7, 5000.0)
    beats.gone(7)
    assert beats.round(1000.0) == ([], [])


@given(st.lists(st.floats(0.0, LIMIT * 0.99), min_size=1, max_size=40))
def test_any_delay_below_the_limit_is_forgiven(delays):
    beats = _listening(1)
    now = 1000.0
    for delay in delays:
        asked: list[int] = []
        while not asked:
            asked, hanging = beats.round(now)
            assert hanging == []
            now += beats.interval
        answer_at = now - beats.interval + delay
        while now <= answer_at:
            assert beats.round(now) == ([], [])
            now += beats.interval
        beats.answered(1)
