"""The router's door for this host: with sockets of libzmq and our own, and with peers that mean no good."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import socket
import time

import pytest
import zmq

from tests.unit.transport.running import LIMIT
from transport import inner
from transport import peer as peering
from transport.doors import FullError, UnreachableError
from transport.envelope import Envelope, parse
from transport.inner import HANDSHAKE, SHARE, InnerDoor
from transport.zmtp import Dealer, encode, opening

WORD = Envelope("PING", id=b"word").to_frames()


class Door:
    """A door in the test's own thread, turn by turn."""

    def __init__(self, path):
        self.path, self.counters = path, {"garbage": 0}
        self.poll = select.epoll()
        self.door = InnerDoor(path, self.poll, self.counters)
        self.came = []

    def turn(self, seconds=0.0):
        """One turn; what came in it."""
        ready = self.poll.poll(seconds)
        self.door.look(ready, time.monotonic())
        came = list(self.door.receive())
        self.door.flush()
        self.came += came
        return came

    def until(self, holds):
        """Turns, until `holds()`, which it returns."""
        end = time.monotonic() + LIMIT
        while not (found := holds()):
            assert time.monotonic() < end
            self.turn(0 if self.door._ready else 0.01)
        return found

    def next(self):
        self.until(lambda: self.came)
        return self.came.pop(0)

    def send(self, address, *messages):
        for message in messages:
            self.door.send(address, message)
        self.door.flush()

    def fill(self, address):
        """How many answers there is room for."""
        number = 0
        with contextlib.suppress(FullError):
            while True:
                self.door.send(address, answer(number, 100))
                number += 1
        return number

    def plain(self, identity=b"", more=b""):
        """A bare socket that has shaken hands."""
        known = set(self.door._peers.values())
        other = socket.socket(socket.AF_UNIX)
        other.settimeout(LIMIT)
        other.connect(str(self.path))
        other.sendall(opening(identity) + more)
        self.until(lambda: set(self.door._peers.values()) - known)
        assert other.recv(len(peering.GREETING), socket.MSG_WAITALL) == peering.GREETING
        return other

    def connections(self):
        return len(self.door._connections)


@pytest.fixture
def door(tmp, no_leaks):
    made = Door(tmp / "door")
    yield made
    made.door.close()
    made.poll.close()


@pytest.fixture
def context():
    with zmq.Context() as made:
        yield made


def zmq_socket(context, door, kind, identity=b"", **options):
    made = context.socket(kind)
    for name, value in {"LINGER": 0, "RCVTIMEO": LIMIT * 1000, **options}.items():
        made.setsockopt(getattr(zmq, name), value)
    if identity:
        made.setsockopt(zmq.ROUTING_ID, identity)
    made.connect(f"ipc://{door.path}")
    return made


def answer(number, size=0):
    return Envelope("FIN", re=number.to_bytes(16, "big"), buffers=(bytes(size),) if size else ())


# libzmq at the other end


@pytest.mark.parametrize("identity", [b"", b"web/1", b"\xff\xfe", b"a" * 255])
@pytest.mark.parametrize("kind", [zmq.DEALER, zmq.REQ])
def test_a_socket_of_libzmq_asks_and_hears(door, context, kind, identity):
    with zmq_socket(context, door, kind, identity) as asker:
        asker.send_multipart([*WORD, b"", bytes(100_000)])
        address, frames = door.next()
        empty = [b""] if kind == zmq.REQ else []
        assert frames == [*empty, *WORD, b"", bytes(100_000)]
        if identity:
            assert address == inner.address_of(identity)
        else:
            assert address.startswith("~00")
            assert len(address) == 1 + 2 * 5
        large = os.urandom(300_000)
        sent = Envelope("FIN", re=b"x", buffers=(large, b"", b"end"))
        door.send(address, sent)
        if kind == zmq.DEALER:  # a REQ passes over what has no empty frame in front
            door.until(lambda: asker.poll(0))
            assert parse(asker.recv_multipart()).buffers == (large, b"", b"end")


def test_another_router_may_come_in(door, context):
    with zmq_socket(context, door, zmq.ROUTER, b"peer", CONNECT_ROUTING_ID=b"there") as asker:
        door.until(lambda: door.door._peers)
        asker.send_multipart([b"there", *WORD])
        assert door.next() == (f"~{b'peer'.hex()}", WORD)


def test_heartbeats_are_answered(door, context, monkeypatch):
    pongs = []

    class Counted(peering.Peer):
        def batch(self):
            pieces = super().batch()
            pongs.extend(piece for piece in pieces if bytes(piece)[2:7] == b"\x04PONG")
            return pieces

    monkeypatch.setattr(inner, "Peer", Counted)
    beats = {"HEARTBEAT_IVL": 10, "HEARTBEAT_TIMEOUT": LIMIT * 1000}
    with zmq_socket(context, door, zmq.DEALER, b"web/1", **beats) as asker:
        door.until(lambda: len(pongs) >= 5)
        asker.send_multipart(WORD)
        assert door.next() == ("web/1", WORD)
        assert (door.connections(), door.counters["garbage"]) == (1, 0)


def test_messages_of_many_peers_keep_their_order(door, context):
    with contextlib.ExitStack() as open_:
        askers = [open_.enter_context(zmq_socket(context, door, zmq.DEALER)) for _ in range(20)]
        for number in range(300):
            for asker in askers:
                asker.send_multipart([b"%d" % number])
        door.until(lambda: len(door.came) == 6000)
        by_peer = {}
        for address, (number,) in door.came:
            by_peer.setdefault(address, []).append(int(number))
    assert list(by_peer.values()) == [list(range(300))] * 20


# Who comes and goes


def test_nobody_there_is_told_at_once(door):
    with pytest.raises(UnreachableError):
        door.send("web/1", answer(1))
    with door.plain(b"web/1"):
        door.send("web/1", answer(1))
    door.until(lambda: door.connections() == 0)
    with pytest.raises(UnreachableError):
        door.send("web/1", answer(1))


def test_a_newer_connection_takes_over_and_what_the_older_had_said_still_counts(door):
    with door.plain(b"web/1") as older:
        older.sendall(encode([b"last words"]))
        with door.plain(b"web/1") as newer:
            assert door.next() == ("web/1", [b"last words"])
            assert older.recv(100) == b""
            door.send("web/1", answer(1))
            assert newer.recv(1000)
            door.until(lambda: door.connections() == 1)
            door.send("web/1", answer(2))
            assert newer.recv(1000)


def test_what_came_before_the_end_is_heard_in_as_many_turns_as_it_takes(door):
    with door.plain(b"web/1", b"".join(encode([b"%d" % number]) for number in range(5 * SHARE))):
        pass
    door.until(lambda: door.connections() == 0)
    assert [int(number) for _, (number,) in door.came] == list(range(5 * SHARE))


def test_a_peer_that_does_not_read_any_more_is_gone(door):
    with door.plain(b"web/1") as other:
        other.shutdown(socket.SHUT_RD)
        door.send("web/1", answer(1))
        with pytest.raises(UnreachableError):
            door.send("web/1", answer(2))
        assert other.recv(1) == b""
    door.until(lambda: door.connections() == 0)


# Who means no good


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        opening()[:12] + b"CURVE".ljust(52, b"\0"),
        opening() + b"\xff\xff",
        opening() + b"\x02" + (1 << 40).to_bytes(8, "big"),
        opening() + b"\x04\x06\x05ERROR",
        opening() + b"\x01\x04half\x08\x00",
    ],
)
def test_garbage_ends_its_own_connection_only_and_is_counted(door, garbage):
    with door.plain(b"web/1") as good, socket.socket(socket.AF_UNIX) as bad:
        bad.connect(str(door.path))
        door.until(lambda: door.connections() == 2)
        bad.sendall(garbage)
        bad.shutdown(socket.SHUT_WR)
        door.until(lambda: door.connections() == 1)
        assert door.counters["garbage"] == 1
        good.sendall(encode(WORD))
        assert door.next() == ("web/1", WORD)


def test_who_floods_gets_a_share_of_each_turn(door):
    flood = encode([b"x"]) * 20_000
    with door.plain(b"loud/1") as loud, door.plain(b"meek/1") as meek:
        loud.setblocking(False)
        sent = loud.send(flood)
        meek.sendall(encode(WORD))
        heard = door.turn(1)
        assert [address for address, _ in heard].count("loud/1") == SHARE
        assert ("meek/1", WORD) in heard
        assert door.door.tend(7.0) == 7.0, "more waits: nobody sleeps"
        loud.send(flood[sent:])
        meek.sendall(encode(WORD))
        assert ("meek/1", WORD) in door.turn(1)


def test_a_slow_reader_fills_its_own_queue_and_reads_all_of_it_later(door):
    with door.plain(b"slow/1") as slow, door.plain(b"swift/1") as swift:
        sent = door.fill("slow/1")
        assert sent > peering.QUEUE, "what the kernel takes is no part of it"
        door.send("swift/1", answer(1))
        assert swift.recv(1000)
        assert door.turn(0) == []
        assert door.door.tend(7.0) is None, "a peer that does not read wakes nobody up"
        expected = b"".join(encode(answer(number, 100).to_frames()) for number in range(sent))
        got = bytearray()
        slow.setblocking(False)
        while len(got) < len(expected):
            with contextlib.suppress(BlockingIOError):
                got += slow.recv(1 << 20)
            door.turn(0)
        assert got == expected
        door.send("slow/1", answer(sent))
        slow.setblocking(True)
        assert slow.recv(1000)


def test_who_says_nothing_has_four_seconds(door):
    with socket.socket(socket.AF_UNIX) as silent, door.plain(b"web/1"):
        silent.connect(str(door.path))
        door.until(lambda: door.connections() == 2)
        now = time.monotonic()
        assert now < door.door.tend(now) <= now + HANDSHAKE
        assert door.connections() == 2
        assert door.door.tend(now + HANDSHAKE) is None
        assert door.connections() == 1
        silent.settimeout(LIMIT)
        assert silent.recv(1000) == peering.GREETING
        assert silent.recv(1000) == b""


def test_of_too_many_half_open_connections_the_oldest_goes(door, monkeypatch):
    monkeypatch.setattr(inner, "MOST_HALF_OPEN", 3)
    with contextlib.ExitStack() as open_:
        silent = [open_.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(5)]
        for number, one in enumerate(silent):
            one.settimeout(LIMIT)
            one.connect(str(door.path))
            door.until(lambda number=number: door.connections() == min(number + 1, 3))
        door.turn()
        for one in silent[:2]:
            assert one.recv(1000) == peering.GREETING
            assert one.recv(1000) == b""
        with door.plain(b"web/1"):
            assert door.door._peers


def test_without_descriptors_nobody_comes_in_and_nothing_turns_round(door, caplog):
    with door.plain(b"web/1") as good, socket.socket(socket.AF_UNIX) as late:
        late.settimeout(LIMIT)
        late.connect(str(door.path))
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            door.turn(1)
            assert door.connections() == 1
            assert door.poll.poll(0) == [], "the poll has nothing more to say of who waits"
            now = time.monotonic()
            assert door.door.tend(now) > now
            good.sendall(encode(WORD))
            assert door.next() == ("web/1", WORD)
            for _ in range(3):
                assert door.door.tend(time.monotonic() + 1) is None
                door.turn(1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert [record.message for record in caplog.records] == [
            "nobody can connect for now: [Errno 24] Too many open files"
        ]
        door.door.tend(time.monotonic() + 1)
        door.until(lambda: door.connections() == 2)
        assert late.recv(1000) == peering.GREETING


def test_a_second_door_takes_the_place_of_what_a_dead_one_has_left(tmp):
    path = tmp / "door"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    door = Door(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with door.plain(b"web/1"):
        door.send("web/1", answer(1))
    door.door.close()
    door.poll.close()
    with pytest.raises(ConnectionRefusedError):
        Dealer(str(path))
