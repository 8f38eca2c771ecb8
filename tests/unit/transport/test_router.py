"""The router's loop with its doors, in a thread of the test."""

from __future__ import annotations

import socket
import threading
from contextlib import closing, contextmanager

import pytest

from tests.ports import free_port
from tests.unit.transport.running import LIMIT, Running
from transport import peer as peering
from transport.connections import Connection
from transport.envelope import Envelope, answer, note, parse, request
from transport.far import FarDealer
from transport.keys import Key, KeyRing, new_pair
from transport.outer import OuterDoor, Policy
from transport.router import RouterSocket
from transport.zmtp import MAX_PARTS, Dealer

ROUNDS = 500


@contextmanager
def serving(path, outer=None):
    """A router in a thread; its switch."""
    ours, its = socket.socketpair()
    with ours, its:
        door = RouterSocket(path, {"node": "here"}, outer)
        thread = threading.Thread(target=door.run, args=(its.fileno(), lambda: False))
        thread.start()
        try:
            yield door.switch
        finally:
            ours.send(b"x")
            thread.join()
            door.close()


def ask(dealer, message):
    """Send it; the next message that is not about whether we are there."""
    dealer.send(message.to_frames())
    while (heard := parse(dealer.receive(LIMIT))).type == "PONG" and not heard.re:
        pass
    return heard


@pytest.mark.parametrize(
    "frames",
    [
        [b"GET / HTTP/1.1"],
        [b"ACTD1", b"\xc1"],
        [b"ACTD1", b"\x81\xa1t\xa3REQ", *[b""] * (2 * MAX_PARTS)],
    ],
)
def test_who_says_what_nobody_understands_is_told_and_may_go_on(tmp, frames):
    with serving(tmp / "r") as switch, closing(Dealer(str(tmp / "r"))) as dealer:
        dealer.send(frames)
        heard = parse(dealer.receive(LIMIT))
        assert (heard.type, heard.re, heard.value()["code"]) == ("ERR", b"", "invalid_argument")
        assert ask(dealer, Envelope("PING", id=b"there?")).re == b"there?"
        assert (switch.counters["malformed"], switch.counters["garbage"]) == (1, 0)


def test_garbage_is_counted(tmp):
    with serving(tmp / "r"), closing(Dealer(str(tmp / "r"))) as dealer:
        with socket.socket(socket.AF_UNIX) as bad:
            bad.settimeout(LIMIT)
            bad.connect(str(tmp / "r"))
            bad.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert b"".join(iter(lambda: bad.recv(1000), b"")) == peering.GREETING
        peers = ask(dealer, request("router", "router.peers", {})).value()
        assert peers["counters"]["garbage"] == 1


def test_final_answers_that_find_no_room_come_later_and_all_of_them(tmp, monkeypatch):
    monkeypatch.setattr(peering, "QUEUE", 5)
    with serving(tmp / "r") as switch, Running(tmp / "r", "echo/1") as echo:
        echo.welcomes.get(timeout=LIMIT)
        with closing(Dealer(str(tmp / "r"))) as asker, closing(Dealer(str(tmp / "r"))) as other:
            large = note("nobody", "n", {"fill": bytes(20_000)}).body
            for number in range(100):
                asker.send(Envelope("REQ", id=bytes([number]), to="echo", op="x").to_frames())
            for heard in [echo.next() for _ in range(100)]:
                echo.pump.send(Envelope("FIN", re=heard.id, to=heard.fr, body=large))
            assert ask(other, request("echo", "y", {}, deadline=1)).type == "ERR", "the router lives"
            got = [parse(asker.receive(LIMIT)).re for _ in range(100)]
            assert got == [bytes([number]) for number in range(100)]
            assert switch.counters["full"] == 0


@pytest.fixture
def far(tmp):
    """A router with both doors, and the connection file of an operator."""
    ring, pair = KeyRing(tmp / "keys"), new_pair()
    ring.allow(Key("friend", pair.public, "operator", 1))
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    policy = Policy(lambda _role, _message: "", lambda _op: False)
    with serving(tmp / "r", OuterDoor(endpoint, ring, policy)):
        with closing(Dealer(str(tmp / "r"))) as here:  # who is answered knows that the other door is open too
            ask(here, Envelope("PING", id=b"x"))
        yield Connection(endpoint, ring.server().public, pair.public, pair.secret)


def test_no_ring_of_the_other_door_is_missed(tmp, far):
    """With one message under way at a time, nothing but its own ring wakes the router."""
    with closing(FarDealer(far)) as there, closing(Dealer(str(tmp / "r"))) as here:
        for number in range(ROUNDS):
            asked = Envelope("PING", id=number.to_bytes(2, "big"))
            assert ask(there, asked).re == asked.id
            assert ask(here, asked).re == asked.id
        for number in range(ROUNDS):
            there.send(Envelope("PING", id=number.to_bytes(2, "big")).to_frames())
        for number in range(ROUNDS):
            assert parse(there.receive(LIMIT)).re == number.to_bytes(2, "big")


def test_the_other_door_lets_new_ones_in_while_this_one_is_busy(tmp, far):
    with Running(tmp / "r", "echo/1") as echo:
        echo.welcomes.get(timeout=LIMIT)
        for _ in range(20):
            with closing(FarDealer(far, LIMIT)) as there:
                there.send(request("echo", "x", {}).to_frames())
                heard = echo.next()
                assert heard.fr.startswith("~~")
                assert heard.by == "friend"
                echo.pump.send(answer(heard, {"b": 2}))
                assert parse(there.receive(LIMIT)).type == "FIN"


@pytest.mark.parametrize("kind", ["EVT", "PART", "FIN"])
def test_whose_key_is_revoked_gets_nothing_more_of_what_he_asked_for(tmp, far, kind):
    """His credit may last for ever."""
    with Running(tmp / "r", "echo/1") as echo, closing(FarDealer(far, LIMIT)) as there:
        echo.welcomes.get(timeout=LIMIT)
        asked = request("echo", "x", {}, credit=1 << 40)
        there.send(asked.to_frames())
        heard = echo.next()
        echo.pump.send(Envelope("EVT", re=heard.id, to=heard.fr, number=1))
        assert parse(there.receive(LIMIT)).type == "EVT"
        KeyRing(tmp / "keys").revoke("friend")
        echo.pump.send(Envelope(kind, re=heard.id, to=heard.fr, number=2))
        last = parse(there.receive(LIMIT))
        assert (last.type, last.re, last.value()["code"]) == ("ERR", asked.id, "permission_denied")
        if kind != "FIN":
            assert (cancel := echo.next()).type == "CANCEL"
            assert cancel.re == asked.id
