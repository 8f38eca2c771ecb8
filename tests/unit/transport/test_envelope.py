from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.codec import pack
from transport.envelope import (
    EMPTY,
    MAX_BUFFERS,
    MAX_NAME,
    SIGNATURE,
    TYPES,
    Envelope,
    answer,
    failure,
    note,
    parse,
    part,
    request,
)
from transport.errors import CODES, ProtocolError, RemoteError

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=MAX_NAME)
NUMBERS = st.integers(0, 2**64 - 1)
ENVELOPES = st.builds(
    Envelope,
    type=st.sampled_from(sorted(TYPES)),
    id=st.binary(max_size=MAX_NAME),
    re=st.binary(max_size=16),
    to=NAMES,
    fr=NAMES,
    inc=NUMBERS,
    op=NAMES,
    deadline=NUMBERS,
    key=NAMES,
    seq=NUMBERS,
    credit=NUMBERS,
    trace=NAMES,
    body=st.binary(max_size=50),
    buffers=st.lists(st.binary(max_size=20), max_size=MAX_BUFFERS).map(tuple),
)
HEADER = {
    "t": str,
    "id": bytes,
    "re": bytes,
    "to": str,
    "fr": str,
    "by": str,
    "inc": int,
    "m": str,
    "dl": int,
}
HEADER |= {"ik": str, "sq": int, "cr": int, "tr": str}
ODD = (None, True, 1.5, -1, "text", b"bytes", [], {}, 7)


def frames(header, *others):
    return [SIGNATURE, pack(header), *others]


@given(ENVELOPES)
def test_round_trip(message):
    assert parse(message.to_frames()) == message
    assert parse([b"", *message.to_frames()]) == message


def test_what_is_left_out_takes_its_empty_value():
    assert parse(frames({"t": "PING"})) == Envelope("PING", body=EMPTY)
    assert parse(frames({"t": "PING"})).value() == {}


def test_unknown_header_keys_are_ignored():
    assert parse(frames({"t": "PING", "new": [1, 2], "": None})) == Envelope("PING")


@pytest.mark.parametrize(
    "raw",
    [
        [],
        [b""],
        [b"", b""],
        [SIGNATURE],
        [b"", SIGNATURE],
        [b"ACTD2", pack({"t": "PING"})],
        [b"", b"", SIGNATURE, pack({"t": "PING"})],
        [SIGNATURE, b""],
        [SIGNATURE, b"\xc1"],
        [SIGNATURE, pack([])],
        [SIGNATURE, pack(None)],
        [SIGNATURE, pack({})],
        [SIGNATURE, pack({"t": "NEW"})],
        [SIGNATURE, pack({"t": "req"})],
        [SIGNATURE, b"\x91" * 2000 + b"\xc0"],
        [SIGNATURE, b"\xdf\x05\xf5\xe1\x00"],
        [SIGNATURE, pack({"t": "PING"}), EMPTY, *[b""] * (MAX_BUFFERS + 1)],
    ],
)
def test_what_is_no_message(raw):
    with pytest.raises(ProtocolError):
        parse(raw)


@pytest.mark.parametrize("key", sorted(HEADER))
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_each_header_key_has_one_type(key, value):
    header = {"t": "PING", key: value}
    if type(value) is HEADER[key] and value != -1 and key != "t":
        parse(frames(header))
        return
    with pytest.raises(ProtocolError, match=f"header key {key} |unknown message type"):
        parse(frames(header))


@pytest.mark.parametrize("key", [key for key, kind in HEADER.items() if kind is not int and key != "t"])
def test_header_values_are_bounded(key):
    long = "x" * (MAX_NAME + 1) if HEADER[key] is str else bytes(MAX_NAME + 1)
    with pytest.raises(ProtocolError, match=f"header key {key} is longer than {MAX_NAME}") as caught:
        parse(frames({"t": "REQ", key: long}))
    assert len(str(caught.value)) < 100
    with pytest.raises(ProtocolError):
        parse(frames({"t": "REQ", key: long * 70_000}))


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_any_frames_are_a_message_or_a_protocol_error(raw):
    for some in (raw, [SIGNATURE, *raw]):
        try:
            parse(some)
        except ProtocolError:
            continue


@given(st.dictionaries(st.sampled_from([*HEADER, "zz"]), st.none() | st.integers() | st.text() | st.binary()))
def test_any_header_is_a_message_or_a_protocol_error(header):
    try:
        packed = pack(header)
        assert parse([SIGNATURE, packed]).type in TYPES
    except ProtocolError:
        return


def test_requests_and_what_answers_them():
    asked = request("metadata", "images.get", {"a": 1}, deadline=5, key="k", credit=6, trace="t")
    assert (asked.type, len(asked.id), asked.value()) == ("REQ", 16, {"a": 1})
    assert request("metadata", "images.get", {}).id != asked.id
    came = asked.forwarded("~00ff")
    assert came == msgspec.structs.replace(asked, fr="~00ff")
    for reply, kind in (
        (answer(came, {"x": 2}), "FIN"),
        (failure(came, RemoteError("not_found", "no")), "ERR"),
        (part(came, {}, b"1", b"2", seq=3), "PART"),
    ):
        assert (reply.type, reply.re, reply.to) == (kind, asked.id, "~00ff")
    assert part(came, {}, b"1", b"2", seq=3).buffers == (b"1", b"2")
    assert note("router", "op", {}).id == b""


@pytest.mark.parametrize("code", sorted(CODES))
def test_errors_travel(code):
    error = RemoteError(code, "text", outcome="done", actor="a", details={"n": 1})
    back = RemoteError.from_body(error.to_body())
    assert (back.code, str(back), back.outcome, back.actor, back.details) == (
        code,
        "text",
        "done",
        "a",
        {"n": 1},
    )
    assert back.retryable is (code in ("unavailable", "overloaded"))


@pytest.mark.parametrize("body", [None, [], "x", 1, {}, {"code": "new", "outcome": "odd", "details": []}])
def test_an_error_that_makes_no_sense_is_internal_and_of_unknown_outcome(body):
    error = RemoteError.from_body(body)
    assert (error.code, error.outcome, error.details, error.retryable) == ("internal", "unknown", {}, False)


def test_what_found_no_room_is_not_repeated_by_itself():
    error = RemoteError("unavailable", "no space left", details={"full": True})
    assert error.to_body()["retryable"] is False
    assert RemoteError.from_body(error.to_body()).retryable is False
    assert RemoteError("unavailable", "held by somebody", details={"busy": True}).retryable
