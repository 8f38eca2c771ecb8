"""The router's decisions about requests that end otherwise: deadlines, and sends that fail."""

import pytest
from switched import CLIENT, LATER, asked, nothing_waits, refused

from transport.envelope import Envelope, answer, part
from transport.switch import (
    GRACE_AFTER_DEADLINE,
    PROBE_EVERY,
)

# Deadlines


def test_a_request_over_its_deadline_is_answered_after_a_grace(switch):
    asked(switch, deadline=2000)
    due = LATER + 2 + GRACE_AFTER_DEADLINE
    assert switch.expire(due - 0.01) == ([], due)
    (told, cancel), again = switch.expire(due)
    address, error = refused([told])
    assert (address, error.code, error.outcome) == (CLIENT, "deadline_exceeded", "unknown")
    assert cancel == ("images/4", Envelope("CANCEL", re=told[1].re, fr=CLIENT)), "nobody holds it"
    assert again is None
    assert nothing_waits(switch)


def test_without_a_deadline_a_request_waits_for_ever(switch):
    asked(switch)
    assert switch.expire(LATER * 1e6) == ([], None)


def test_the_deadlines_of_answered_requests_are_not_waited_for(switch):
    for _ in range(100):
        switch.receive("images/4", answer(asked(switch, deadline=30_000), {}), LATER)
    assert switch.expire(LATER) == ([], None)
    assert not switch.outstanding._deadlines


def test_an_id_used_again_does_not_inherit_a_deadline(switch):
    first = Envelope("REQ", id=b"same", to="images", op="x", deadline=1000)
    switch.receive(CLIENT, first, LATER)
    switch.receive("images/4", answer(first.forwarded(CLIENT), {}), LATER)
    switch.expire(LATER)
    switch.receive(CLIENT, Envelope("REQ", id=b"same", to="images", op="x"), LATER)
    assert switch.expire(LATER + 60) == ([], None)


def test_an_id_used_again_has_its_own_deadline_though_others_are_due_before(switch):
    asked(switch, peer="~0022", deadline=500)
    first = Envelope("REQ", id=b"same", to="images", op="x", deadline=1000)
    switch.receive(CLIENT, first, LATER)
    switch.receive("images/4", answer(first.forwarded(CLIENT), {}), LATER)
    switch.expire(LATER)
    switch.receive(CLIENT, Envelope("REQ", id=b"same", to="images", op="x", deadline=90_000), LATER)
    (address, _), _ = switch.expire(LATER + 60)[0]
    assert address == "~0022"
    assert [to for to, _ in switch.expire(LATER + 91)[0]] == [CLIENT, "images/4"]
    assert nothing_waits(switch)


def test_deadlines_of_answered_requests_do_not_pile_up_behind_one_that_waits(switch):
    asked(switch, peer="~0022", deadline=20_000)
    for _ in range(20_000):
        switch.receive("images/4", answer(asked(switch, deadline=30_000), {}), LATER)
        switch.expire(LATER)
    assert len(switch.outstanding._deadlines) < 2000
    assert [to for to, _ in switch.expire(LATER + 21)[0]] == ["~0022", "images/4"]


def test_the_longest_deadline_that_the_codec_can_carry_is_one_that_a_poller_can_wait_for(switch):
    asked(switch, deadline=2**64 - 1)
    _, again = switch.expire(LATER)
    assert again is not None
    assert (again - LATER) * 1000 < 2**31


# Sends that fail


def test_clients_that_wait_are_looked_after_and_those_that_are_gone_are_given_up(switch):
    assert switch.probe(LATER) == ([], None), "nobody waits"
    first, second = asked(switch), asked(switch)
    asked(switch, peer="supervisor/1")
    sends, again = switch.probe(LATER)
    assert (sends, again) == ([], LATER + PROBE_EVERY)
    ((address, message),), _ = switch.probe(LATER + PROBE_EVERY)
    assert (address, message.type) == (CLIENT, "PONG")
    cancels = switch.unreachable(address, message)
    assert [(to, one.type, one.re, one.fr) for to, one in cancels] == [
        ("images/4", "CANCEL", first.id, CLIENT),
        ("images/4", "CANCEL", second.id, CLIENT),
    ]
    assert switch.probe(LATER + 3 * PROBE_EVERY) == ([], None), "an actor is watched by others"


def test_a_request_that_cannot_be_delivered_is_answered(switch):
    for failed, code in ((switch.unreachable, "unavailable"), (switch.full, "overloaded")):
        address, error = refused(failed("images/4", asked(switch)))
        assert (address, error.code, error.outcome) == (CLIENT, code, "not_started")
    assert nothing_waits(switch)


def test_whoever_streams_to_a_client_that_has_gone_is_told(switch):
    message = asked(switch)
    sends = switch.unreachable(CLIENT, part(message, {}, b"x"))
    assert sends == [("images/4", Envelope("CANCEL", re=message.id, fr=CLIENT))]
    assert nothing_waits(switch)
    assert switch.unreachable(CLIENT, part(message, {}, b"x")) == []


@pytest.mark.parametrize("kind", ["PART", "EVT"])
def test_a_stream_that_is_not_read_is_ended_on_both_sides(switch, kind):
    message = asked(switch)
    cancel, told = switch.full(CLIENT, Envelope(kind, to=CLIENT, re=message.id))
    assert cancel == ("images/4", Envelope("CANCEL", re=message.id, fr=CLIENT))
    address, error = refused([told])
    assert (address, told[1].re, error.code, error.outcome) == (CLIENT, message.id, "overloaded", "unknown")
    assert nothing_waits(switch)
    assert switch.full(CLIENT, Envelope(kind, to=CLIENT, re=message.id)) == []


@pytest.mark.parametrize("kind", ["FIN", "ERR", "NOTE", "WELCOME", "CANCEL"])
def test_what_nobody_waits_for_is_dropped_when_it_cannot_be_delivered(switch, kind):
    message = Envelope(kind, to=CLIENT, re=b"1")
    assert switch.unreachable(CLIENT, message) == []
    assert switch.full(CLIENT, message) == []
