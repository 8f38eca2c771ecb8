"""One connection to the router's Unix socket, without the socket."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport import peer as peering
from transport.doors import FullError
from transport.envelope import MAX_MESSAGE, parse
from transport.errors import ProtocolError
from transport.peer import QUEUE, Peer
from transport.zmtp import LARGE, MAX_PARTS, Framing, encode, opening

GREETING = opening()[:64]
MESSAGES = [[b"ACTD1", b"\x80"], [b"", b"x" * 300, b"end"], [b"last"]]
STREAM = opening(b"a/1") + b"".join(map(encode, MESSAGES))


def command(name, body):
    text = bytes([len(name)]) + name + body
    head = bytes([4, len(text)]) if len(text) < 256 else b"\x06" + len(text).to_bytes(8, "big")
    return head + text


def ready(*properties):
    """A greeting and a READY with these properties."""
    said = b"".join(
        bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value for name, value in properties
    )
    return GREETING + command(b"READY", said)


def connected():
    peer = Peer()
    peer.feed(opening())
    assert peer.message() is None
    assert peer.ready
    return peer


def taken(peer):
    return list(iter(peer.message, None))


def written(peer, sizes=(1 << 30,)):
    """All that waits, as a kernel gets it that takes so much at a time."""
    out, turn = b"", 0
    while peer.waiting:
        took = b"".join(peer.batch())[: sizes[turn % len(sizes)]]
        peer.took(len(took))
        out, turn = out + took, turn + 1
    return out


# What comes in


@pytest.mark.parametrize("at", range(len(STREAM)))
def test_where_two_reads_divide_what_came_does_not_matter(at):
    peer = Peer()
    peer.feed(STREAM[:at])
    got = taken(peer)
    peer.feed(STREAM[at:])
    assert got + taken(peer) == MESSAGES
    assert (peer.ready, peer.identity) == (True, b"a/1")


def test_one_byte_at_a_time():
    peer, got = Peer(), []
    for at in range(len(STREAM)):
        peer.feed(STREAM[at : at + 1])
        got += taken(peer)
    assert got == MESSAGES


@pytest.mark.parametrize("kind", [b"DEALER", b"REQ", b"ROUTER"])
@pytest.mark.parametrize("name", [b"Socket-Type", b"SOCKET-TYPE", b"socket-type"])
def test_who_speaks_to_a_router_may_come_in(kind, name):
    peer = Peer()
    peer.feed(ready((name, kind), (b"Identity", b"me"), (b"X-Else", b"?")))
    assert peer.message() is None
    assert (peer.ready, peer.identity) == (True, b"me")


@pytest.mark.parametrize(
    ("properties", "why"),
    [
        ([(b"Socket-Type", b"PUB")], "type"),
        ([(b"Socket-Type", b"")], "type"),
        ([(b"Identity", b"a")], "type"),
        ([], "type"),
        ([(b"Socket-Type", b"DEALER"), (b"Identity", b"\0abcd")], "identity"),
        ([(b"Socket-Type", b"DEALER"), (b"Identity", b"a" * 256)], "identity"),
        ([(b"", b"DEALER")], "READY"),
    ],
)
def test_others_may_not(properties, why):
    peer = Peer()
    peer.feed(ready(*properties))
    with pytest.raises(ProtocolError, match=why):
        peer.message()
    assert not peer.ready


@pytest.mark.parametrize("end", range(1, len(opening(b"a")) - 64 - 8))
def test_properties_that_end_too_early_are_refused(end):
    metadata = opening(b"a")[64 + 8 :][:-end]
    peer = Peer()
    peer.feed(GREETING + command(b"READY", metadata))
    with contextlib.suppress(ProtocolError):  # unless it ends between two
        peer.message()
        assert metadata.endswith(b"DEALER")


@given(st.sampled_from([b"", GREETING, STREAM]), st.lists(st.binary(max_size=80), max_size=8))
def test_random_bytes_raise_only_protocol_errors(start, chunks):
    peer = Peer()
    with contextlib.suppress(ProtocolError):
        for chunk in (start, *chunks):
            peer.feed(chunk)
            taken(peer)


def test_a_message_of_too_many_frames_comes_cut_and_is_still_too_long():
    peer = connected()
    peer.feed(encode([b"ACTD1", b"\x80", *[b"x"] * 50_000]) + encode([b"next"]))
    (long, after) = taken(peer)
    assert len(long) == MAX_PARTS + 1
    assert after == [b"next"]
    with pytest.raises(ProtocolError, match="buffers"):
        parse(long)


def test_a_message_that_is_too_large_comes_cut_and_is_still_too_large():
    peer = connected()
    half = bytes(MAX_MESSAGE // 2 + 1)
    for frame in (b"ACTD1", b"\x80", half, half, half, half):
        peer.feed(encode([frame, b""])[:-2])
        assert peer.message() is None
        assert peer._framing._size <= MAX_MESSAGE + len(half)
    peer.feed(encode([b""]) + encode([b"next"]))
    large, after = taken(peer)
    assert after == [b"next"]
    with pytest.raises(ProtocolError, match="bytes"):
        parse(large)


# What goes out

FRAMES = st.lists(
    st.one_of(
        st.binary(max_size=300),
        st.integers(LARGE - 2, LARGE + 2).map(bytes),
        st.integers(0, 3 * LARGE).map(lambda size: b"\x07" * size),
    ),
    min_size=1,
    max_size=5,
)


@given(st.lists(FRAMES, max_size=5), st.lists(st.integers(1, 20_000), min_size=1, max_size=5))
def test_however_little_the_kernel_takes_what_leaves_is_what_was_queued(messages, sizes):
    peer = connected()
    for frames in messages:
        peer.queue(frames)
    assert peer.waiting == len(messages)
    assert written(peer, sizes) == b"".join(map(encode, messages))
    assert peer._bytes == 0


def test_a_large_frame_is_not_copied():
    peer = connected()
    large = bytes(LARGE)
    peer.queue([b"a", large, b"b"])
    assert any(piece is large for piece in peer.batch())


def test_more_pieces_than_the_kernel_takes_at_once_are_no_matter():
    peer = connected()
    frames = [bytes(LARGE)] * 17
    for _ in range(64):
        peer.queue(frames)
    assert len(peer.batch()) == peering.PIECES
    assert written(peer) == encode(frames) * 64


def test_so_many_messages_may_wait_and_no_more():
    peer = connected()
    for _ in range(QUEUE):
        peer.queue([b"x"])
    with pytest.raises(FullError):
        peer.queue([b"x"])
    peer.took(3)
    peer.queue([b"y"])
    assert peer.waiting == QUEUE


def test_so_many_bytes_may_wait_but_one_message_always(monkeypatch):
    monkeypatch.setattr(peering, "QUEUE_BYTES", 1000)
    peer = connected()
    peer.queue([bytes(5000)])
    with pytest.raises(FullError):
        peer.queue([b"x"])
    written(peer)
    peer.queue([bytes(500)])
    with pytest.raises(FullError):
        peer.queue([bytes(500)])


def test_what_cannot_leave_is_dropped():
    peer = connected()
    peer.queue([bytes(500)])
    peer.took(10)
    peer.drop()
    assert (peer.waiting, peer.batch()) == (0, [])


# Heartbeats


def test_a_ping_is_answered_before_what_waits_but_not_within_a_message():
    peer = connected()
    peer.queue([b"one"])
    peer.queue([b"two"])
    peer.batch()
    peer.took(2)
    peer.feed(command(b"PING", b"\0\1abc"))
    assert peer.message() is None
    assert peer.waiting == 3
    assert written(peer) == encode([b"one"])[2:] + command(b"PONG", b"abc") + encode([b"two"])


def test_a_flood_of_pings_takes_no_room():
    peer = connected()
    for number in range(1000):
        peer.feed(command(b"PING", b"\0\1" + str(number).encode()))
        assert peer.message() is None
        assert peer.waiting == 1
    assert written(peer) == command(b"PONG", b"999")


def test_the_other_ends_framing_reads_what_we_write():
    peer = connected()
    sent = [[b"a", bytes(100_000)], [b""], [b"b"] * 19]
    for frames in sent:
        peer.queue(frames)
    framing = Framing()
    framing.feed(peering.GREETING + written(peer, (1, 7, 9000)))
    assert list(iter(framing.message, None)) == sent
    assert framing.ready
