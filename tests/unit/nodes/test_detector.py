"""The phi accrual detector, and the states that it leads to: no clock, no process."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.nodes.detector import LEAST_DEVIATION, LONGEST, MOST_PHI, PAUSE, Detector
from actors.nodes.vitals import DOWN, INTERVAL, SUSPECT, Vitals

intervals = st.lists(st.floats(0.0, 100.0), max_size=100)
LEAST_PATIENCE = PAUSE + 5.6 * LEAST_DEVIATION  # of 8 phi are 5.6 deviations
MOST_PATIENCE = PAUSE + LONGEST + 5.7 * LONGEST / 2  # all that the bound on an interval lets a peer earn


def heard(gaps):
    """A detector that was beaten at these distances, and when that was last."""
    now = 0.0
    found = Detector(now, INTERVAL)
    for gap in gaps:
        now += gap
        found.heard(now)
    return found, now


@given(intervals, st.lists(st.floats(0.0, 1000.0), min_size=2, max_size=20))
def test_phi_only_grows_while_nothing_is_heard(gaps, waits):
    found, last = heard(gaps)
    phis = [found.phi(last + wait) for wait in sorted(waits)]
    assert phis == sorted(phis)
    assert all(0 <= phi <= MOST_PHI for phi in phis)


@given(intervals, st.floats(0.5, 12.0))
def test_due_is_when_phi_gets_there(gaps, phi):
    found, _ = heard(gaps)
    assert found.phi(found.due(phi)) == pytest.approx(phi, rel=1e-3)


@given(intervals)
def test_no_history_makes_patience_too_short_or_without_end(gaps):
    found, last = heard(gaps)
    assert LEAST_PATIENCE <= found.due(DOWN) - last <= MOST_PATIENCE
    assert found.due(SUSPECT) < found.due(DOWN)


def test_an_even_link_is_given_up_sooner_than_an_uneven_one():
    even, at = heard([1.0] * 64)
    uneven, then = heard([0.2, 1.8] * 32)
    assert even.due(DOWN) - at < 4.5 < uneven.due(DOWN) - then


def test_a_link_that_has_become_slow_earns_patience_and_loses_it_again():
    slow, at = heard([1.0] * 64 + [3.0] * 10)
    assert slow.due(DOWN) - at > 6
    again, then = heard([1.0] * 64 + [3.0] * 10 + [1.0] * 64)
    assert again.due(DOWN) - then < 4.5


def test_what_we_slept_through_is_not_held_against_it():
    found, last = heard([1.0] * 10)
    found.forgive(60.0)
    assert found.phi(last + 61.0) == pytest.approx(heard([1.0] * 10)[0].phi(last + 1.0))


def test_an_outage_teaches_nothing_about_intervals():
    found, last = heard([1.0] * 64)
    before = found.due(DOWN) - last
    found.resume(last + 500)
    assert found.due(DOWN) - (last + 500) == pytest.approx(before)


# States


def test_a_node_that_is_never_heard_is_down_and_one_that_is_heard_is_up():
    silent, spoken = Vitals(Detector(0.0, INTERVAL)), Vitals(Detector(0.0, INTERVAL))
    assert not silent.look(silent.detector.due(SUSPECT))
    assert silent.look(silent.due())
    assert (silent.state, silent.due()) == ("down", None)
    assert spoken.heard(0.5)
    assert spoken.state == "up"


def test_silence_makes_it_suspect_then_down_and_a_word_makes_it_up():
    found = Vitals(Detector(0.0, INTERVAL))
    found.heard(1.0)
    assert not found.heard(2.0)
    assert found.look(found.due())
    assert found.state == "suspect"
    assert found.look(found.due())
    assert (found.state, found.due()) == ("down", None)
    assert not found.look(1e6)
    assert found.heard(100.0)
    assert found.state == "up"


def test_what_else_comes_keeps_it_up_but_wakes_no_dead():
    found = Vitals(Detector(0.0, INTERVAL))
    assert not found.seen(0.5)
    assert found.state == "new"
    found.heard(1.0)
    assert found.look(found.due())
    assert found.seen(6.0)
    assert (found.state, found.look(7.0)) == ("up", False)
    found.look(100.0)
    assert not found.seen(101.0)
    assert found.state == "down"


@given(st.lists(st.tuples(st.sampled_from(["heard", "look"]), st.floats(0.0, 10.0)), max_size=60))
def test_each_change_is_told_once_and_only_as_it_can_be(steps):
    found, now, before = Vitals(Detector(0.0, INTERVAL)), 0.0, "new"
    for step, wait in steps:
        now += wait
        changed = found.heard(now) if step == "heard" else found.look(now)
        assert changed == (found.state != before)
        assert found.state == "up" if step == "heard" else found.state != "up" or before == "up"
        before = found.state
