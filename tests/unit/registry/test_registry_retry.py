from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.registry import retry
from transport.registry.errors import BadContentError, CutError, NotReachableError, UnavailableError
from transport.registry.retry import (
    ATTEMPTS,
    LONGEST_ASKED,
    LONGEST_DELAY,
    next_delay,
    persist,
    retry_after_seconds,
)

NOW = 1_800_000_000.0


def unavailable(retry_after=None):
    error = UnavailableError("busy", retry_after=retry_after)
    error.received_at = NOW
    return error


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        (formatdate(NOW + 90, usegmt=True), 90),
        (formatdate(NOW - 90, usegmt=True), 0),
        ("999999999999999999999", LONGEST_ASKED),
        (formatdate(NOW + 10**7, usegmt=True), LONGEST_ASKED),
        ("-3", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("\u0663", None),
        ("Mon, 99 Foo 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_read_in_seconds_and_as_a_date(value, seconds):
    assert retry_after_seconds(value, NOW) == seconds


@given(st.text(max_size=60))
def test_retry_after_never_fails_and_is_bounded(value):
    seconds = retry_after_seconds(value, NOW)
    assert seconds is None or 0 <= seconds <= LONGEST_ASKED


def test_what_the_registry_asked_for_is_waited_for_less_what_has_passed():
    assert next_delay(1, unavailable(20), NOW, 0.0) == pytest.approx(20.25)
    assert next_delay(1, unavailable(20), NOW + 15, 0.0) == pytest.approx(5.25)
    assert next_delay(1, unavailable(20), NOW + 60, 0.0) == pytest.approx(0.25)


def test_waits_double_up_to_a_bound_and_then_it_is_given_up():
    waits = [next_delay(attempt, unavailable(), NOW, 1.0) for attempt in range(1, ATTEMPTS + 1)]
    assert waits == [0.5, 1, 2, 4, 8, None]


@given(st.integers(1, 200), st.floats(0, 1, exclude_max=True))
def test_no_wait_is_longer_than_the_bound(attempt, draw):
    delay = next_delay(attempt, unavailable(), NOW, draw)
    assert (delay is None) == (attempt >= ATTEMPTS)
    assert delay is None or 0 < delay <= LONGEST_DELAY


def test_an_unreachable_registry_is_given_up_after_three_tries_within_two_seconds():
    error = NotReachableError("refused")
    waits = [next_delay(attempt, error, NOW, 0.99) for attempt in (1, 2, 3)]
    assert waits[2] is None
    assert 0 < waits[0] + waits[1] < 2.5


def test_what_cannot_change_is_not_tried_again():
    assert next_delay(1, BadContentError("wrong"), NOW) is None
    assert next_delay(1, CutError("cut", 5), NOW) is not None


def test_persist_waits_between_tries_and_returns_the_result():
    waits, errors = [], [unavailable(), unavailable()]

    def operation():
        if errors:
            raise errors.pop()
        return "done"

    assert persist(operation, waits.append) == "done"
    assert len(waits) == 2


def test_persist_raises_the_last_error():
    def operation():
        raise NotReachableError("refused")

    waits = []
    with pytest.raises(NotReachableError, match="refused"):
        persist(operation, waits.append)
    assert len(waits) == 2


def test_who_comes_further_each_time_is_not_given_up_but_at_last(monkeypatch):
    """A registry that hangs up again and again is put up with while it sends something, yet not for ever."""
    monkeypatch.setattr(retry, "MOST_CUTS", 50)
    position, waits = [0], []

    def operation():
        position[0] += 1
        raise UnavailableError("cut")

    with pytest.raises(UnavailableError):
        persist(operation, waits.append, lambda: position[0])
    assert 50 <= position[0] <= 50 + retry.ATTEMPTS
    assert max(waits[:48]) <= retry.FIRST_DELAY
