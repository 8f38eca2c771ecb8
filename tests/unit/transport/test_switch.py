"""The router's decisions: no socket, no clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from transport.codec import pack
from transport.envelope import Envelope, answer, failure, note, parse, part, request
from transport.errors import ProtocolError, RemoteError
from transport.switch import (
    GRACE_AFTER_DEADLINE,
    GRACE_AFTER_START,
    MAX_OUTSTANDING_PER_KEY,
    MAX_OUTSTANDING_PER_PEER,
    PROBE_EVERY,
    STILL_HEARD,
    Switch,
)

CLIENT = "~0011"
LATER = 100.0  # long after the start


@pytest.fixture
def switch():
    """A switch that knows images/4 and supervisor/1."""
    made = Switch(0.0, {"node": "here"})
    hello(made, "images/4")
    hello(made, "supervisor/1")
    return made


def hello(switch, address):
    return switch.receive(address, Envelope("HELLO", id=b"h"), 0.0)


def asked(switch, now=LATER, peer=CLIENT, **fields):
    """A request that is under way, as images/4 gets it."""
    ((_, forwarded),) = switch.receive(peer, request("images", "images.get", {}, **fields), now)
    assert forwarded.type == "REQ"
    return forwarded


def refused(sends):
    """To whom an error goes, and the error."""
    ((address, message),) = sends
    assert message.type == "ERR"
    return address, RemoteError.from_body(message.value())


def nothing_waits(switch):
    left = switch.outstanding
    return not (left._waiting or left.by_target or left.per_peer or left.per_key)


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
