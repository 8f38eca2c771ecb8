"""Requests on their way to other nodes: each is answered once, to whom it was for. Pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.nodes.relay import LATE, MOST, Relay
from transport.envelope import Envelope, answer, failure, part, request
from transport.errors import RemoteError

GONE = RemoteError("unavailable", "gone")


def asked(fr="~01", to="h2/metadata", **fields):
    return request(to, "images.get", {"a": 1}, **fields).forwarded(fr)


def over_there(message):
    """As the other node's actor sees it."""
    return message.forwarded("~~ff")


def test_a_request_goes_out_under_its_own_id_and_comes_back_under_the_first():
    relay = Relay()
    wish = asked(deadline=500)
    onward = relay.pass_on(wish, "h2", "metadata", 0.0)
    assert (onward.to, onward.fr, onward.body, onward.deadline) == ("metadata", "", wish.body, 500)
    assert onward.id != wish.id
    back = relay.came("h2", answer(over_there(onward), {"b": 2}))
    assert (back.type, back.re, back.to, back.value()) == ("FIN", wish.id, "~01", {"b": 2})
    assert len(relay) == 0
    assert relay.came("h2", answer(over_there(onward), {})) is None


def test_two_clients_with_the_same_id_are_kept_apart():
    relay = Relay()
    one = asked("~01")
    other = replace(one, fr="~02")
    first, second = (relay.pass_on(wish, "h2", "metadata", 0.0) for wish in (one, other))
    assert relay.came("h2", answer(over_there(second), {})).to == "~02"
    assert relay.came("h2", answer(over_there(first), {})).to == "~01"


def test_parts_pass_until_the_end_and_word_about_a_stream_finds_its_way():
    relay = Relay()
    wish = asked(credit=10)
    onward = relay.pass_on(wish, "h2", "metadata", 0.0)
    piece = relay.came("h2", part(over_there(onward), {}, b"bytes", seq=7))
    assert (piece.re, piece.buffers, piece.seq) == (wish.id, (b"bytes",), 7)
    credit = Envelope("CREDIT", re=wish.id, fr="~01", credit=5)
    node, more = relay.concerning(credit, 1.0)
    assert (node, more.re, more.credit) == ("h2", onward.id, 5)
    assert relay.concerning(replace(credit, fr="~02"), 1.0) is None


def test_another_node_cannot_answer_and_nothing_but_answers_pass():
    relay = Relay()
    onward = over_there(relay.pass_on(asked(), "h2", "metadata", 0.0))
    assert relay.came("h3", answer(onward, {})) is None
    for kind in ("REQ", "NOTE", "HELLO", "CANCEL"):
        assert relay.came("h2", Envelope(kind, re=onward.id)) is None
    assert len(relay) == 1


def test_a_link_that_fails_fails_all_that_is_under_way_there_and_nothing_else():
    relay = Relay()
    lost, kept = asked(to="h2/metadata"), asked(to="h3/metadata")
    relay.pass_on(lost, "h2", "metadata", 0.0)
    relay.pass_on(kept, "h3", "metadata", 0.0)
    [said] = relay.fail("h2", lambda message: failure(message, GONE))
    assert (said.re, said.to) == (lost.id, "~01")
    assert relay.fail("h2", lambda message: failure(message, GONE)) == []
    assert [node for node, _ in relay.abandon()] == ["h3"]


def test_what_is_cancelled_or_late_is_forgotten_in_the_end():
    relay = Relay()
    endless, brief = asked(), asked("~02", deadline=1000)
    relay.pass_on(endless, "h2", "metadata", 0.0)
    relay.pass_on(brief, "h2", "metadata", 0.0)
    relay.expire(1.0 + LATE + 0.1)
    assert len(relay) == 1
    relay.concerning(Envelope("CANCEL", re=endless.id, fr="~01"), 100.0)
    relay.expire(100.0 + LATE + 0.1)
    assert len(relay) == 0


def test_one_node_takes_so_many_and_no_more():
    relay = Relay()
    for number in range(MOST):
        relay.pass_on(asked(f"~{number}"), "h2", "metadata", 0.0)
    with pytest.raises(RemoteError, match="wait for node h2"):
        relay.pass_on(asked("~last"), "h2", "metadata", 0.0)
    relay.pass_on(asked("~last"), "h3", "metadata", 0.0)


@given(
    st.lists(st.tuples(st.sampled_from(["ask", "answer", "fail", "cancel"]), st.integers(0, 3)), max_size=60)
)
def test_whatever_happens_each_request_ends_once(steps):
    relay, under_way, ended = Relay(), {}, []
    for step, number in steps:
        node = f"h{number % 2}"
        if step == "ask" and number not in under_way:
            wish = asked(f"~{number}")
            under_way[number] = (wish, node, over_there(relay.pass_on(wish, node, "metadata", 0.0)))
        elif step == "answer" and number in under_way:
            _, node, onward = under_way[number]
            ended.append(relay.came(node, answer(onward, {})).re)
        elif step == "cancel" and number in under_way:
            assert relay.concerning(Envelope("CANCEL", re=under_way[number][0].id, fr=f"~{number}"), 0.0)
        elif step == "fail":
            ended += [said.re for said in relay.fail(node, lambda message: failure(message, GONE))]
        under_way = {key: one for key, one in under_way.items() if one[0].id not in ended}
    assert len(ended) == len(set(ended))
    assert len(relay) == len(under_way)
