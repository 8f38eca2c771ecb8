"""When garbage is collected: a clock made of numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.collecting import DELAY, RETRY, Schedule


def schedule(**changes):
    return Schedule(**{"mutations": 100, "pause": 0.02, "startup_delay": 0.1, **changes})


def test_the_first_run_comes_after_the_start():
    one = schedule()
    assert one.due is None
    one.started(5.0)
    assert one.due == 5.1


def test_nothing_happens_and_nothing_is_due():
    one = schedule()
    one.started(0.0)
    one.begins()
    one.ran(0.1, 0.2)
    assert one.due is None
    one.noted(3.0, mutations=99, deletions=0)
    assert one.due is None, "changes alone are no reason until they are many"
    one.noted(20.0, mutations=1, deletions=0)
    assert one.due == 20.0 + DELAY


def test_a_deletion_makes_a_run_due_and_several_share_it():
    one = schedule()
    one.noted(10.0, 1, 1)
    one.noted(10.02, 1, 1)
    assert one.due == 10.0 + DELAY


def test_a_rest_follows_a_run():
    one = schedule()
    one.begins()
    one.noted(10.5, 1, 1)  # while it runs
    one.ran(10.0, 11.0)
    assert one.due == 11.0 + 49.0, "two parts in a hundred of the time"
    one.begins()
    one.ran(60.0, 60.1)
    one.noted(61.0, 1, 1)
    assert one.due is not None
    assert one.due >= 60.1 + 4.9


def test_what_fails_is_tried_again():
    one = schedule()
    one.begins()
    one.failed(7.0)
    assert one.due == 7.0 + RETRY


def test_what_expires_earlier_comes_first():
    one = schedule()
    one.expects(500.0)
    one.expects(900.0)
    assert one.due == 500.0
    one.noted(100.0, 1, 1)
    assert one.due == 100.0 + DELAY


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 3), st.floats(0.001, 2)), max_size=30))
def test_it_never_takes_more_of_the_time_than_it_may(steps):
    """Runs of one length each, begun as early as they are due, with a deletion always waiting."""
    one, now, busy = schedule(pause=0.1), 0.0, 0.0
    length = 0.5
    for pause, deletions, _ in steps:
        now += pause
        one.noted(now, 1, deletions)
        if one.due is not None:
            now = max(now, one.due)
            one.begins()
            one.ran(now, now + length)
            now, busy = now + length, busy + length
    assert busy <= length + 0.1 * now + 1e-6
