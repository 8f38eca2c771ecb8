"""ZMTP framing by itself, and the blocking Dealer against scripted peers and a real ROUTER."""

import contextlib
import socket
import threading

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from transport.errors import ProtocolError
from transport.zmtp import MAX_COMMAND, MAX_FRAME, MAX_PARTS, Dealer, Framing, encode, opening

GREETING = opening()[:64]
READY = opening()[64:]
MESSAGES = st.lists(st.lists(st.binary(max_size=600), min_size=1, max_size=5), max_size=6)


def command(name, body=b""):
    text = bytes([len(name)]) + name + body
    if len(text) < 256:
        return bytes([4, len(text)]) + text
    return b"\x06" + len(text).to_bytes(8, "big") + text


def connected():
    """A framing past its handshake."""
    framing = Framing()
    framing.feed(opening())
    assert framing.shake_hands()
    return framing


def taken(framing):
    return list(iter(framing.message, None))


# What is written


def test_the_opening_is_what_the_specification_says():
    expected = bytes.fromhex("ff00000000000000007f0300") + b"NULL" + bytes(16) + b"\0" + bytes(31)
    ready = b"\x05READY" + b"\x0bSocket-Type\0\0\0\x06DEALER" + b"\x08Identity\0\0\0\x05web/1"
    assert opening(b"web/1") == expected + b"\x04" + bytes([len(ready)]) + ready


def test_a_frame_of_255_bytes_is_short_and_one_of_256_long():
    assert encode([b"a" * 255]) == b"\x00\xff" + b"a" * 255
    assert encode([b"a" * 256]) == b"\x02" + (256).to_bytes(8, "big") + b"a" * 256
    assert encode([b"a", b""]) == b"\x01\x01a\x00\x00"


# What is read


@given(MESSAGES, st.lists(st.integers(min_value=1, max_value=700), min_size=1))
def test_the_splits_between_reads_do_not_matter(messages, sizes):
    stream = opening() + b"".join(map(encode, messages))
    framing, got, at, turn = Framing(), [], 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        framing.feed(stream[at : at + size])
        got += taken(framing)
        at, turn = at + size, turn + 1
    assert got == messages
    assert framing.ready
    assert not framing.pending


@given(st.sampled_from([b"", GREETING, opening()]), st.lists(st.binary(max_size=80), max_size=8))
def test_random_bytes_raise_only_protocol_errors(start, chunks):
    framing = Framing()
    framing.feed(start)
    with contextlib.suppress(ProtocolError):
        for chunk in chunks:
            framing.feed(chunk)
            for message in taken(framing):
                assert 0 < len(message) <= MAX_PARTS


@given(st.integers(min_value=0, max_value=len(opening(b"a/1")) - 1), st.integers(1, 255))
def test_a_damaged_opening_is_refused_or_harmless(position, change):
    damaged = bytearray(opening(b"a/1"))
    damaged[position] ^= change
    framing = Framing()
    framing.feed(bytes(damaged))
    with contextlib.suppress(ProtocolError):
        framing.message()


@pytest.mark.parametrize(
    ("greeting", "why"),
    [
        (b"H", "does not speak ZMTP"),
        (GREETING[:10] + b"\x01" + GREETING[11:], "ZMTP 3"),
        (GREETING[:9] + b"\x7e" + GREETING[10:], "ZMTP 3"),
        (GREETING[:12] + b"CURVE".ljust(20, b"\0") + GREETING[32:], "NULL"),
    ],
)
def test_a_greeting_of_another_kind_is_refused(greeting, why):
    framing = Framing()
    framing.feed(greeting)
    with pytest.raises(ProtocolError, match=why):
        framing.message()


@pytest.mark.parametrize(
    "first", [encode([b"early"]), command(b"ERROR", b"\x04full"), command(b"PING", b"\0\0")]
)
def test_what_comes_instead_of_ready_is_refused(first):
    framing = Framing()
    framing.feed(GREETING + first)
    with pytest.raises(ProtocolError, match="refused"):
        framing.message()
    assert not framing.ready


def test_a_frame_too_large_is_refused_when_its_head_is_read():
    framing = connected()
    framing.feed(b"\x02" + MAX_FRAME.to_bytes(8, "big"))
    assert framing.message() is None
    framing = connected()
    framing.feed(b"\x02" + (MAX_FRAME + 1).to_bytes(8, "big"))
    with pytest.raises(ProtocolError, match="too large"):
        framing.message()


def test_a_command_too_large_is_refused_when_its_head_is_read():
    framing = connected()
    framing.feed(b"\x06" + (MAX_COMMAND + 1).to_bytes(8, "big"))
    with pytest.raises(ProtocolError, match="too large"):
        framing.message()


def test_as_many_parts_as_allowed_and_one_more():
    framing = connected()
    framing.feed(encode([b"x"] * MAX_PARTS))
    assert framing.message() == [b"x"] * MAX_PARTS
    framing.feed(encode([b"x"] * (MAX_PARTS + 1)))
    with pytest.raises(ProtocolError, match="frames"):
        framing.message()


@pytest.mark.parametrize("flags", [5, 7, 8, 16, 128, 255])
def test_flags_that_mean_nothing_are_refused(flags):
    framing = connected()
    framing.feed(bytes([flags, 0]))
    with pytest.raises(ProtocolError, match="flags"):
        framing.message()


def test_commands_are_ignored_even_between_the_frames_of_a_message():
    framing = connected()
    one, two = encode([b"a", b"b"])[:3], encode([b"a", b"b"])[3:]
    framing.feed(
        command(b"SUBSCRIBE", b"all") + one + command(b"READY") + two + command(b"") + encode([b"c"])
    )
    assert taken(framing) == [[b"a", b"b"], [b"c"]]


def test_an_error_ends_the_connection():
    framing = connected()
    framing.feed(encode([b"last"]) + command(b"ERROR", b"\x03bye"))
    assert framing.message() == [b"last"]
    with pytest.raises(ProtocolError, match="ended"):
        framing.message()


def test_a_ping_is_answered_with_its_context_and_only_the_newest_is_kept():
    framing = connected()
    framing.feed(command(b"PING", b"\x00\x64one") + command(b"PING", b"\x00\x64two"))
    assert framing.message() is None
    assert framing.pong == command(b"PONG", b"two")
    framing.feed(command(b"PING", b"\x00\x64" + bytes(17)))
    with pytest.raises(ProtocolError, match="PING"):
        framing.message()


# The blocking Dealer


@pytest.fixture
def listener(tmp):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp / "s"))
        listening.listen()
        yield listening


def dealer_and_peer(listener, first=b"", timeout=10.0):
    """A connected Dealer and the other end, whose opening has been read."""
    made = []
    connecting = threading.Thread(target=lambda: made.append(Dealer(listener.getsockname(), timeout)))
    connecting.start()
    peer, _ = listener.accept()
    peer.settimeout(10)
    assert peer.recv(len(opening()), socket.MSG_WAITALL) == opening()
    peer.sendall(opening() + first)
    connecting.join()
    return made[0], peer


def test_a_dealer_and_a_real_router_understand_each_other(tmp):
    large = bytes(range(256)) * 65536
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.setsockopt(zmq.RCVTIMEO, 10_000)
        router.bind(f"ipc://{tmp / 'r'}")
        dealer = Dealer(str(tmp / "r"))
        dealer.send([b"one", b"", large])
        peer, *frames = router.recv_multipart()
        assert frames == [b"one", b"", large]
        router.send_multipart([peer, b"", large, b"end"])
        assert dealer.receive(10) == [b"", large, b"end"]
        assert not dealer.pending
        dealer.close()
        dealer.close()


def test_a_message_that_came_with_the_handshake_is_not_lost(listener):
    dealer, peer = dealer_and_peer(listener, encode([b"early"]) + encode([b"later"]))
    assert dealer.receive(10) == [b"early"]
    assert dealer.pending
    assert dealer.receive(10) == [b"later"]
    assert not dealer.pending
    dealer.close()
    peer.close()


def test_a_time_out_in_the_middle_of_a_message_loses_nothing(listener):
    dealer, peer = dealer_and_peer(listener)
    message = encode([b"first", b"second"])
    for at in range(len(message)):
        with pytest.raises(TimeoutError):
            dealer.receive(0.001)
        peer.sendall(message[at : at + 1])
    assert dealer.receive(10) == [b"first", b"second"]
    dealer.close()
    peer.close()


def test_a_dealer_answers_a_ping(listener):
    dealer, peer = dealer_and_peer(listener)
    peer.sendall(command(b"PING", b"\0\1abc") + encode([b"x"]))
    assert dealer.receive(10) == [b"x"]
    assert peer.recv(100) == command(b"PONG", b"abc")
    dealer.close()
    peer.close()


def test_the_end_of_a_connection_is_an_error_of_the_connection(listener):
    dealer, peer = dealer_and_peer(listener)
    peer.sendall(encode([b"half", b"way"])[:4])
    peer.close()
    with pytest.raises(ConnectionResetError):
        dealer.receive(10)
    with pytest.raises(OSError, match="pipe"):
        dealer.send([b"x"])
    dealer.close()


def test_a_peer_that_says_nothing_is_given_up(listener):
    with pytest.raises(TimeoutError):
        Dealer(listener.getsockname(), 0.01)


def test_without_a_listener_there_is_no_dealer(tmp):
    with pytest.raises(FileNotFoundError):
        Dealer(str(tmp / "none"))
