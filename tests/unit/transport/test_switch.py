"""The router's decisions about requests, whose they are and who is refused: no socket, no clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from switched import CLIENT, LATER, asked, hello, nothing_waits, refused

from transport.codec import pack
from transport.envelope import Envelope, answer, failure, note, parse, part, request
from transport.errors import ProtocolError, RemoteError
from transport.switch import (
    GRACE_AFTER_START,
    MAX_OUTSTANDING_PER_KEY,
    MAX_OUTSTANDING_PER_PEER,
    STILL_HEARD,
    Switch,
)

# Requests and their answers


def test_what_comes_with_a_request_is_passed_on_and_not_kept(switch):
    """4,096 may wait of one peer, each with megabytes."""
    message = Envelope("REQ", id=b"1", to="images", op="x", body=bytes(9000), buffers=(bytes(9000),))
    ((_, forwarded),) = switch.receive(CLIENT, message, LATER)
    assert (forwarded.body, forwarded.buffers) == (message.body, message.buffers)
    (waiting,) = switch.outstanding._waiting.values()
    assert len(waiting.asked.body) + sum(map(len, waiting.asked.buffers)) < 100
    assert refused(switch.down("images", 4))[1].code == "unavailable"


def test_a_request_goes_to_the_incarnation_that_is_connected_stamped_with_its_sender(switch):
    message = request("images", "images.get", {"a": 1})
    ((address, forwarded),) = switch.receive(CLIENT, message, LATER)
    assert address == "images/4"
    assert forwarded == message.forwarded(CLIENT)


def test_what_a_sender_claims_to_be_is_overwritten(switch):
    message = Envelope("REQ", id=b"1", to="images", op="x", fr="supervisor/1")
    ((_, forwarded),) = switch.receive(CLIENT, message, LATER)
    assert forwarded.fr == CLIENT


@pytest.mark.parametrize("mark", ["~", "~~"])
def test_a_sender_whose_address_is_too_long_for_a_header_is_told(switch, mark):
    assert parse(asked(switch, peer=mark + bytes(127).hex()).to_frames())
    address = mark + bytes(128).hex()
    message = request("images", "images.get", {})
    with pytest.raises(ProtocolError, match="header key fr is longer"):
        parse(message.forwarded(address).to_frames())
    to, error = refused(switch.receive(address, message, LATER))
    assert (to, error.code) == (address, "invalid_argument")


@pytest.mark.parametrize(
    "finish", [lambda m: answer(m, {}), lambda m: failure(m, RemoteError("internal", "no"))]
)
def test_the_first_final_answer_ends_a_request_and_a_second_is_dropped(switch, finish):
    final = finish(asked(switch))
    assert switch.receive("images/4", final, LATER) == [(CLIENT, final.forwarded("images/4"))]
    assert nothing_waits(switch)
    assert switch.receive("images/4", final, LATER) == []
    assert switch.counters["late_answers"] == 1


def test_parts_pass_while_their_request_waits(switch):
    message = asked(switch)
    partial = part(message, {}, b"bytes", seq=1)
    assert switch.receive("images/4", partial, LATER) == [(CLIENT, partial.forwarded("images/4"))]
    switch.receive("images/4", answer(message, {}), LATER)
    assert switch.receive("images/4", partial, LATER) == []


@pytest.mark.parametrize("kind", ["CANCEL", "CREDIT"])
def test_what_concerns_a_request_goes_where_the_request_went(switch, kind):
    message = asked(switch)
    concerning = Envelope(kind, re=message.id)
    assert switch.receive(CLIENT, concerning, LATER) == [("images/4", concerning.forwarded(CLIENT))]
    assert switch.receive("~ff", concerning, LATER) == []


def test_what_was_said_before_an_end_in_order_counts_though_word_of_the_end_comes_first(switch):
    message, other = asked(switch), asked(switch, peer="~02")
    end = note("router", "router.down", {"name": "images", "inc": 4, "in_order": True})
    assert switch.receive("supervisor/1", end, LATER) == []
    _, error = refused(switch.receive(CLIENT, request("images", "images.get", {}), LATER))
    assert error.code == "not_found", "nothing new goes there"
    partial = part(message, {}, b"bytes", seq=1)
    assert switch.receive("images/4", partial, LATER) == [(CLIENT, partial.forwarded("images/4"))]
    final = answer(message, {})
    assert switch.receive("images/4", final, LATER) == [(CLIENT, final.forwarded("images/4"))]
    sends, again = switch.expire(LATER)
    assert (sends, again) == ([], LATER + STILL_HEARD)
    address, error = refused(switch.expire(LATER + STILL_HEARD)[0])
    assert (address, error.code, error.outcome) == (other.fr, "unavailable", "unknown")
    assert nothing_waits(switch)


def test_two_clients_may_use_the_same_id(switch):
    one = Envelope("REQ", id=b"same", to="images", op="x")
    for peer in (CLIENT, "~22"):
        assert switch.receive(peer, one, LATER) == [("images/4", one.forwarded(peer))]
    for peer in ("~22", CLIENT):
        ((address, _),) = switch.receive("images/4", answer(one.forwarded(peer), {}), LATER)
        assert address == peer


# Refusals


@pytest.mark.parametrize("identifier", [b"", b"taken"])
def test_a_request_needs_an_id_of_its_own(switch, identifier):
    switch.receive(CLIENT, Envelope("REQ", id=b"taken", to="images", op="x"), LATER)
    sends = switch.receive(CLIENT, Envelope("REQ", id=identifier, to="images", op="x"), LATER)
    address, error = refused(sends)
    assert (address, error.code) == (CLIENT, "invalid_argument")


def test_an_unknown_name_may_still_be_starting(switch):
    for now, code in ((GRACE_AFTER_START - 0.1, "unavailable"), (GRACE_AFTER_START + 0.1, "not_found")):
        address, error = refused(switch.receive(CLIENT, request("content", "x", {}), now))
        assert (address, error.code, error.actor) == (CLIENT, code, "content")
        assert error.outcome == "not_started"


def test_once_all_names_are_known_an_unknown_one_is_nobodys(switch):
    expected = {"names": ["content"], "all": True}
    switch.receive("supervisor/1", note("router", "router.expect", expected), 0.1)
    for name, code in (("content", "unavailable"), ("nobody", "not_found")):
        _, error = refused(switch.receive(CLIENT, request(name, "x", {}), 0.2))
        assert error.code == code


def test_all_names_are_those_and_no_other(switch):
    for names, complete in ((["gone"], False), (["content"], True), (["new"], False)):
        wish = {"names": names, "all": complete}
        switch.receive("supervisor/1", note("router", "router.expect", wish), 0.1)
    assert switch.expected == {"content", "new"}


def test_a_name_that_the_supervisor_expects_is_never_unknown(switch):
    switch.receive("supervisor/1", note("router", "router.expect", {"names": ["content"]}), LATER)
    _, error = refused(switch.receive(CLIENT, request("content", "x", {}), LATER))
    assert error.code == "unavailable"
    switch.receive("supervisor/1", note("router", "router.forget", {"name": "content"}), LATER)
    _, error = refused(switch.receive(CLIENT, request("content", "x", {}), LATER))
    assert error.code == "not_found"


@pytest.mark.parametrize("inc", [3, 5])
def test_a_request_for_another_incarnation_is_refused(switch, inc):
    message = Envelope("REQ", id=b"1", to="images", op="x", inc=inc)
    _, error = refused(switch.receive(CLIENT, message, LATER))
    assert (error.code, error.outcome) == ("unavailable", "not_started")
    assert nothing_waits(switch)


def test_one_peer_may_have_so_many_requests_under_way(switch):
    for _ in range(MAX_OUTSTANDING_PER_PEER):
        message = asked(switch)
    _, error = refused(switch.receive(CLIENT, request("images", "x", {}), LATER))
    assert error.code == "overloaded"
    asked(switch, peer="~22")
    switch.receive("images/4", answer(message, {}), LATER)
    asked(switch)


def test_the_connections_of_one_key_may_have_so_many_together(switch):
    def ask(number, key="oscar"):
        wanted = replace(request("images", "images.get", {}), fr=f"~~{number:04x}", by=key)
        ((_, said),) = switch.receive(wanted.fr, wanted, LATER)
        return said

    first, *_ = [ask(number % 50) for number in range(MAX_OUTSTANDING_PER_KEY)]
    assert RemoteError.from_body(ask(50).value()).code == "overloaded"
    assert ask(51, "olga").type == "REQ"
    switch.receive("images/4", answer(first, {}), LATER)
    assert ask(50).type == "REQ"
    assert ask(50).type == "ERR"


def test_refused_requests_leave_nothing_behind(switch):
    for peer in range(50):
        refused(switch.receive(f"~{peer:04x}", request("nobody", "x", {}), LATER))
    assert nothing_waits(switch)


# Whatever peers do


PEERS = ("~01", "~02", "a/1", "a/2", "b/1", "supervisor/1")


MESSAGES = st.builds(
    Envelope,
    st.sampled_from(["HELLO", "REQ", "FIN", "ERR", "PART", "CANCEL", "CREDIT", "NOTE", "PING", "BYE"]),
    id=st.sampled_from([b"", b"1", b"2"]),
    re=st.sampled_from([b"1", b"2"]),
    to=st.sampled_from(["a", "b", "router", *PEERS]),
    inc=st.integers(0, 2),
    op=st.sampled_from(["x", "router.down", "router.forget"]),
    deadline=st.sampled_from([0, 1, 1000]),
    body=st.just(pack({"name": "a", "inc": 1})),
)


@given(st.lists(st.tuples(st.sampled_from(PEERS), MESSAGES, st.booleans())))
def test_every_request_is_answered_exactly_once(steps):
    """By its final answer, an error of the router, or at the latest its actor's end."""
    switch, now, questions, finals = Switch(-LATER, {}), 0.0, 0, 0
    for peer, message, fails in steps:
        now += 0.3
        questions += message.type == "REQ"
        expired, _ = switch.expire(now)
        sends = [*expired, *switch.receive(peer, message, now)]
        while sends:
            address, sent = sends.pop()
            if fails and sent.type not in ("FIN", "ERR"):
                undone = switch.unreachable(address, sent)
                finals += sum(message.type == "CANCEL" for _, message in undone)  # its client has gone
                sends += undone
            finals += sent.type in ("FIN", "ERR")
    finals += len(
        switch.down("a", 1) + switch.down("a", 2) + switch.down("b", 1) + switch.down("supervisor", 1)
    )
    assert finals == questions
    assert nothing_waits(switch)


# Other nodes


def test_a_request_for_another_node_goes_to_the_actor_that_passes_it_on(switch):
    hello(switch, "nodes/2")
    message = request("there/metadata", "images.get", {})
    ((address, forwarded),) = switch.receive(CLIENT, message, LATER)
    assert (address, forwarded.to) == ("nodes/2", "there/metadata")
    credit = Envelope("CREDIT", re=message.id, credit=3)
    assert switch.receive(CLIENT, credit, LATER) == [("nodes/2", credit.forwarded(CLIENT))]
    ((to, said),) = switch.down("nodes", 2)
    assert (to, "by which there/metadata is reached" in said.value()["msg"]) == (CLIENT, True)


@pytest.mark.parametrize(("details", "fr"), [({}, "nodes/2"), ({"node": "there"}, "")])
def test_an_error_of_a_link_is_no_actors_answer(switch, details, fr):
    hello(switch, "nodes/2")
    wish = request("there/metadata", "images.get", {})
    ((_, forwarded),) = switch.receive(CLIENT, wish, LATER)
    said = failure(forwarded, RemoteError("unavailable", "no", details=details))
    ((_, passed),) = switch.receive("nodes/2", said, LATER)
    assert passed.fr == fr


def test_this_nodes_own_name_is_here(switch):
    ((address, forwarded),) = switch.receive(CLIENT, request("here/images", "images.get", {}), LATER)
    assert (address, forwarded.to) == ("images/4", "images")
    ((_, answered),) = switch.receive(CLIENT, request("here/router", "router.ping", {}), LATER)
    assert answered.type == "FIN"


@pytest.mark.parametrize("to", ["a/b/metadata", "here/b/metadata", "a/here/a/metadata", "here/here/images"])
def test_a_way_over_more_than_one_node_is_refused(switch, to):
    hello(switch, "nodes/2")
    address, error = refused(switch.receive(CLIENT, request(to, "images.get", {}), LATER))
    assert (address, error.code) == (CLIENT, "invalid_argument")
    assert "more than one node" in str(error)


def test_an_actor_of_a_container_on_another_node_has_a_name(switch):
    hello(switch, "nodes/2")
    for to in ("there/container/default/x", "there/puller/default/1", "there/job/default/1"):
        ((address, forwarded),) = switch.receive(CLIENT, request(to, "tasks.state", {}), LATER)
        assert (address, forwarded.to) == ("nodes/2", to)
    assert (
        refused(switch.receive(CLIENT, request("container/default/x", "a.b", {}), LATER))[1].code
        == "not_found"
    )
