"""The router's decisions about names: incarnations that come, end and sleep, and what it tells of itself."""

import pytest
from switched import CLIENT, LATER, asked, hello, nothing_waits, refused

from transport.codec import pack
from transport.envelope import Envelope, answer, failure, note, request
from transport.errors import ProtocolError, RemoteError
from transport.switch import STILL_HEARD

# Incarnations


def test_the_end_of_an_actor_answers_whoever_waits_for_it(switch):
    message = asked(switch)
    down = note("router", "router.down", {"name": "images", "inc": 4})
    address, error = refused(switch.receive("supervisor/1", down, LATER))
    assert (address, error.code, error.outcome, error.actor) == (CLIENT, "unavailable", "unknown", "images")
    assert switch.receive("images/4", answer(message, {}), LATER) == []
    assert "images" not in switch.names
    assert nothing_waits(switch)


def test_ends_that_nobody_saw_are_told_together(switch):
    """What such an actor said last may be on its way still."""
    asked(switch)
    ends = note("router", "router.ended", {"ends": {"images": 4, "content": 9}})
    assert switch.receive("supervisor/2", ends, LATER) == []
    assert "images" not in switch.names
    sends, _ = switch.expire(LATER + STILL_HEARD)
    address, error = refused(sends)
    assert (address, error.code, error.outcome, error.actor) == (CLIENT, "unavailable", "unknown", "images")
    assert nothing_waits(switch)


def test_a_report_on_an_earlier_incarnation_leaves_the_present_one_alone(switch):
    asked(switch)
    down = note("router", "router.down", {"name": "images", "inc": 3})
    assert switch.receive("supervisor/1", down, LATER) == []
    assert switch.names["images"] == 4


def test_the_next_incarnation_ends_the_one_before(switch):
    asked(switch)
    (address, error), (to, welcome) = hello(switch, "images/5")
    assert (address, error.type, to, welcome.type) == (CLIENT, "ERR", "images/5", "WELCOME")
    assert welcome.value() == {"node": "here"}
    assert switch.names["images"] == 5
    assert hello(switch, "images/4") == []


def test_the_same_incarnation_may_announce_itself_again(switch):
    asked(switch)
    ((_, welcome),) = hello(switch, "images/4")
    assert welcome.type == "WELCOME"
    assert not nothing_waits(switch)


@pytest.mark.parametrize("peer", [CLIENT, "/5", "images/", "images/x"])
def test_a_client_is_welcome_but_has_no_name(switch, peer):
    before = dict(switch.names)
    ((address, welcome),) = hello(switch, peer)
    assert (address, welcome.type, welcome.re) == (peer, "WELCOME", b"h")
    assert switch.names == before


def test_only_the_supervisor_is_believed(switch):
    for peer in (CLIENT, "images/4", "supervisors/1"):
        switch.receive(peer, note("router", "router.expect", {"names": ["x"]}), LATER)
        switch.receive(peer, note("router", "router.down", {"name": "images", "inc": 4}), LATER)
        switch.receive(peer, note("router", "router.ended", {"ends": {"images": 4}}), LATER)
    assert not switch.expected
    assert "images" in switch.names
    with pytest.raises(ProtocolError):
        switch.receive("supervisor/1", note("router", "router.down", []), LATER)


# Notes and the router's own operations


def test_a_note_goes_to_a_name_that_is_there(switch):
    message = note("images", "x", {})
    assert switch.receive(CLIENT, message, LATER) == [("images/4", message.forwarded(CLIENT))]
    assert switch.receive(CLIENT, note("nobody", "x", {}), LATER) == []


def test_the_router_answers_for_itself(switch):
    ((address, peers),) = switch.receive(CLIENT, request("router", "router.peers", {}), LATER)
    assert (address, peers.type) == (CLIENT, "FIN")
    assert peers.value()["names"] == {"images": 4, "supervisor": 1}
    ((_, pong),) = switch.receive(CLIENT, request("router", "router.ping", {}), LATER)
    assert pong.type == "FIN"
    _, error = refused(switch.receive(CLIENT, request("router", "router.rule", {}), LATER))
    assert error.code == "not_implemented"
    assert switch.receive(CLIENT, Envelope("PING", id=b"p"), LATER) == [(CLIENT, Envelope("PONG", re=b"p"))]
    assert switch.receive(CLIENT, Envelope("BYE"), LATER) == []


def traffic(switch):
    ((_, told),) = switch.receive(CLIENT, request("router", "router.traffic", {}), LATER)
    return told.value()


def test_requests_are_counted_by_how_they_ended_and_timed_if_they_were_answered(switch):
    for seconds, finish in ((0.002, answer), (0.2, answer), (100.0, answer)):
        switch.receive("images/4", finish(asked(switch), {}), LATER + seconds)
    switch.receive("images/4", failure(asked(switch), RemoteError("not_found", "no")), LATER + 0.0005)
    asked(switch)
    switch.down("images", 4)
    switch.receive(CLIENT, request("images", "images.get", {}), LATER)
    told = traffic(switch)
    assert sorted(told["ended"]) == [
        ["images.get", "not_found", 2], ["images.get", "ok", 3], ["images.get", "unavailable", 1]
    ]  # fmt: skip
    took = told["took"]["images.get"]
    assert took["counts"] == [1, 1, 0, 0, 1, 0, 0, 1]
    assert took["seconds"] == pytest.approx(100.2025)
    assert told["waiting"] == {}


def test_names_that_strangers_make_up_are_counted_as_one(switch):
    for number in range(1000):
        message = asked(switch)
        invented = request("images", f"invented.{number}", {})
        ((_, forwarded),) = switch.receive(CLIENT, invented, LATER)
        switch.receive("images/4", failure(forwarded, RemoteError("not_implemented", "no")), LATER)
        switch.receive("images/4", answer(message, {}), LATER)
    told = traffic(switch)
    assert sorted(told["ended"]) == [["images.get", "ok", 1000], ["other", "not_implemented", 1000]]


def test_what_is_under_way_is_told_by_kind(switch):
    hello(switch, "container/default/one/1")
    hello(switch, "container/default/two/1")
    for name in ("one", "two"):
        switch.receive(CLIENT, request(f"container/default/{name}", "tasks.wait", {}), LATER)
    asked(switch)
    assert traffic(switch)["waiting"] == {"container": 2, "images": 1}


@pytest.mark.parametrize("body", [b"\xc1", pack([1]), pack({"code": ["x"]}), pack({"code": "made up"})])
def test_an_error_that_makes_no_sense_is_passed_on_and_counted(switch, body):
    message = asked(switch)
    broken = Envelope("ERR", re=message.id, to=message.fr, body=body)
    assert [to for to, _ in switch.receive("images/4", broken, LATER)] == [CLIENT]
    assert [row[1] for row in traffic(switch)["ended"]] == ["internal"]


# Sleep


def leave(switch, peer):
    ((_, found),) = switch.receive(peer, request("router", "router.leave", {}), LATER)
    return found.value()["left"]


def test_a_request_to_one_that_sleeps_is_to_be_repeated_and_wakes_it(switch):
    hello(switch, "supervisor/1")
    assert leave(switch, "images/4")
    for _ in range(2):  # one of them may not arrive
        (address, error), (to, wanted) = switch.receive(CLIENT, request("images", "x", {}), LATER)
        found = RemoteError.from_body(error.value())
        assert (address, found.code, found.outcome) == (CLIENT, "unavailable", "not_started")
        assert (to, wanted.type, wanted.fr) == ("supervisor/1", "NOTE", "router")
        assert wanted.value() == {"name": "images"}
    hello(switch, "images/5")
    assert asked(switch)
    assert not switch.asleep


def test_one_that_somebody_waits_for_cannot_leave(switch):
    message = asked(switch)
    assert not leave(switch, "images/4")
    switch.receive("images/4", answer(message, {}), LATER)
    assert leave(switch, "images/4")
    assert not leave(switch, "images/4")
    assert nothing_waits(switch)


@pytest.mark.parametrize("peer", [CLIENT, "images/3", "images/5", "nobody/1", "images/None", "x/None", "/4"])
def test_nobody_leaves_for_another(switch, peer):
    assert not leave(switch, peer)
    assert (switch.names["images"], switch.asleep) == (4, set())


def test_one_that_stays_after_all_announces_itself(switch):
    assert leave(switch, "images/4")
    hello(switch, "images/4")
    assert asked(switch)


def test_a_new_router_is_told_who_sleeps(switch):
    hello(switch, "supervisor/1")
    told = {"names": ["content"], "all": True, "asleep": ["content"]}
    switch.receive("supervisor/1", note("router", "router.expect", told), LATER)
    _, (_, wanted) = switch.receive(CLIENT, request("content", "x", {}), LATER)
    assert wanted.value() == {"name": "content"}
    switch.receive("supervisor/1", note("router", "router.forget", {"name": "content"}), LATER)
    assert len(switch.receive(CLIENT, request("content", "x", {}), LATER)) == 1
