"""The pump against scripted routers that break what can break, and the bounds of what waits."""

import contextlib
import socket
import threading

import pytest

from tests.unit.transport.running import LIMIT, Peer, Running, number, numbered
from transport import outbox
from transport import pump as pumping
from transport.outbox import BacklogError
from transport.pump import Pump
from transport.zmtp import MAX_FRAME, encode, opening


@pytest.fixture
def path(tmp):
    return tmp / "router"


@pytest.fixture
def listener(path):
    """The socket of a scripted router."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        listening.settimeout(LIMIT)
        yield listening


# Floods


def test_who_cannot_get_rid_of_answers_hears_of_nothing_new(path, listener):
    """Else a flood of what is answered at once fills up what waits for the router, and ends the actor."""
    turns = range(40_000)
    with Running(path) as actor, Peer(listener).shake_hands() as peer:
        actor.pump._on_message = lambda message: actor.pump.send(numbered(number(message), 100))
        flood = threading.Thread(target=lambda: peer.send(*map(numbered, turns)))
        flood.start()
        while not actor.inside(lambda: actor.pump.crowded):
            pass
        for _ in range(200):  # turns, in each of which there is more to be heard
            actor.inside(lambda: None)
        assert [number(peer.next()) for _ in turns] == list(turns)
        flood.join()


# Connections that break


def test_a_message_taken_in_part_is_sent_again_and_one_taken_whole_is_not(path, listener):
    with Running(path) as asker:
        with Peer(listener).shake_hands() as peer:
            asker.pump.send(numbered(0))
            assert number(peer.next()) == 0
            for turn in range(1, 5):
                asker.pump.send(numbered(turn, 300_000))
            while not asker.inside(lambda: asker.pump._outbox.begun):
                pass
            whole = 5 - asker.inside(lambda: len(asker.pump._outbox))
        assert asker.losses.get(timeout=LIMIT)
        with Peer(listener).shake_hands() as peer:
            assert [number(peer.next()) for _ in range(whole, 5)] == list(range(whole, 5))
            asker.pump.send(numbered(5))
            assert number(peer.next()) == 5


def test_what_came_before_the_end_is_handed_on_although_sending_fails(path, listener):
    with Running(path) as asker:
        peer = Peer(listener).shake_hands()
        blocked, going = threading.Event(), threading.Event()
        asker.pump.call(lambda: (blocked.set(), going.wait(LIMIT)))
        blocked.wait(LIMIT)
        peer.send(numbered(1), numbered(2))
        peer.socket.close()
        asker.pump.send(numbered(3))
        going.set()
        assert [number(asker.next()) for _ in range(2)] == [1, 2]
        assert asker.losses.get(timeout=LIMIT)
        with Peer(listener).shake_hands() as peer:
            assert number(peer.next()) == 3


def test_a_peer_that_only_stops_reading_is_left(path, listener):
    with Running(path) as asker, Peer(listener).shake_hands() as deaf:
        deaf.socket.shutdown(socket.SHUT_RD)
        asker.pump.send(numbered(1))
        with Peer(listener).shake_hands() as peer:
            assert number(peer.next()) == 1


@pytest.mark.parametrize(
    "garbage", [b"HTTP/1.1 400 no\r\n", b"\xff" + bytes(63), opening()[:64] + b"\x04\x03\x02no"]
)
def test_a_peer_that_does_not_speak_zmtp_is_left_and_tried_again(path, listener, garbage):
    with Running(path) as asker:
        with Peer(listener) as peer:
            peer.socket.sendall(garbage)
            assert peer.saw_end()
        with Peer(listener).shake_hands().welcome():
            assert asker.welcomes.get(timeout=LIMIT)
            assert asker.losses.empty()


@pytest.mark.parametrize("garbage", [b"\x02" + (MAX_FRAME + 1).to_bytes(8, "big"), b"\x80\x00"])
def test_a_peer_that_breaks_the_rules_later_is_left_and_met_again(path, listener, garbage):
    with Running(path) as asker:
        with Peer(listener).shake_hands().welcome() as peer:
            peer.send(numbered(1))
            peer.socket.sendall(garbage)
            assert peer.saw_end()
        assert number(asker.next()) == 1
        assert asker.losses.get(timeout=LIMIT)
        with Peer(listener).shake_hands().welcome():
            asker.welcomes.get(timeout=LIMIT)
            asker.welcomes.get(timeout=LIMIT)


def test_a_peer_that_never_finishes_its_handshake_is_left(path, listener, monkeypatch):
    monkeypatch.setattr(pumping, "HANDSHAKE", 0.02)
    with Running(path) as asker:
        with Peer(listener) as peer:
            assert peer.saw_end()
        monkeypatch.setattr(pumping, "HANDSHAKE", 4.0)
        while True:  # a connection or two may have been given up by now
            with Peer(listener) as peer, contextlib.suppress(OSError, AssertionError):
                peer.shake_hands()
                break
        assert asker.losses.get(timeout=LIMIT)


def test_attempts_become_rarer_until_a_router_speaks(path, listener):
    with Running(path) as asker:
        for _ in range(6):
            with Peer(listener).shake_hands():
                pass
            asker.losses.get(timeout=LIMIT)
        assert asker.inside(lambda: asker.pump._retry_after) == pumping.RECONNECT_MAX
        with Peer(listener).shake_hands().welcome():
            asker.welcomes.get(timeout=LIMIT)
            assert asker.inside(lambda: asker.pump._retry_after) == pumping.RECONNECT
            assert asker.inside(asker.pump._wait) is None  # connected and idle: nothing is waited for


def test_a_ping_of_the_transport_is_answered(path, listener):
    with Running(path), Peer(listener).shake_hands() as peer:
        peer.socket.sendall(b"\x04\x0a\x04PING\x00\x01abc")
        assert peer.socket.recv(100) == b"\x04\x08\x04PONG" + b"abc"


def test_a_message_that_is_none_is_passed_over(path, listener):
    with Running(path) as asker, Peer(listener).shake_hands() as peer:
        peer.socket.sendall(encode([b"who", b"knows"]))
        peer.send(numbered(7))
        assert number(asker.next()) == 7


def test_a_peer_that_does_not_read_holds_up_nobody_who_turns_the_pump_itself(path, listener):
    """What it sends between two turns goes out at once or waits, and keeps its order."""
    pump = Pump(path, "asker/1", print)
    shaken = []
    accepting = threading.Thread(target=lambda: shaken.append(Peer(listener).shake_hands()))
    accepting.start()
    while accepting.is_alive():
        pump.turn(lambda: False)
    with shaken[0] as peer:
        for turn in range(60):
            pump.send(numbered(turn, 300_000 if turn % 3 else 0))
            pump.turn(lambda: False)
        assert len(pump._outbox) > 0
        heard = []
        reading = threading.Thread(target=lambda: heard.extend(number(peer.next()) for _ in range(60)))
        reading.start()
        while pump._outbox:
            pump.turn()
        reading.join(LIMIT)
    assert heard == list(range(60))
    pump.close()


# The outbox's bounds


def test_so_many_messages_wait_and_no_more(path, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_WAITING", 3)
    pump = Pump(path, "asker/1", print)
    for turn in range(3):
        pump.send(numbered(turn))
    with pytest.raises(BacklogError, match="3 messages"):
        pump.send(numbered(3))


def test_so_many_bytes_wait_until_they_have_left(path, listener, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_WAITING_BYTES", 10_000)
    with Running(path) as asker:
        with pytest.raises(BacklogError, match="10000 bytes"):
            asker.pump.send(numbered(0, 10_000))
        asker.pump.send(numbered(1, 6000))
        with pytest.raises(BacklogError):
            asker.pump.send(numbered(2, 6000))
        with Peer(listener).shake_hands() as peer:
            assert number(peer.next()) == 1
            assert asker.inside(lambda: len(asker.pump._outbox)) == 0
            asker.pump.send(numbered(3, 6000))
            assert number(peer.next()) == 3


def test_stop_does_not_wait_for_a_router_that_stays_away(path):
    pump = Pump(path, "asker/1", print)
    pump.send(numbered(1))
    pump.stop()
    pump.run()
    assert len(pump._outbox) == 1
