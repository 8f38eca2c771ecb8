"""The pump against a real router and against scripted peers that break what can break."""

import contextlib
import functools
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from transport import pump as pumping
from transport.envelope import Envelope, answer, note, parse, request
from transport.pump import BacklogError, Pump
from transport.router import RouterSocket
from transport.zmtp import MAX_FRAME, Framing, encode, opening

ROOT = Path(__file__).parents[3]
LIMIT = 20  # seconds that no step needs


class Running:
    """A pump in a thread of its own; what it says goes into queues."""

    def __init__(self, path, address="asker/1"):
        self.arrived, self.welcomes, self.losses = queue.Queue(), queue.Queue(), queue.Queue()
        self.pump = Pump(path, address, self.arrived.put)
        self.pump.on_welcome = lambda: self.welcomes.put(True)
        self.pump.on_disconnect = lambda: self.losses.put(True)
        self.thread = threading.Thread(target=self.pump.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.pump.stop()
        self.thread.join(LIMIT)
        assert not self.thread.is_alive()

    def next(self):
        return self.arrived.get(timeout=LIMIT)

    def inside(self, function):
        """What `function` returns in the pump's thread."""
        got = queue.Queue()
        self.pump.call(lambda: got.put(function()))
        return got.get(timeout=LIMIT)


@pytest.fixture
def path(tmp):
    return tmp / "router"


@pytest.fixture
def router(path):
    """A router in a thread; its switch."""
    ours, its = socket.socketpair()
    with ours, its:
        door = RouterSocket(path, {"node": "here"})
        serving = threading.Thread(target=door.run, args=(its.fileno(), lambda: False))
        serving.start()
        yield door.switch
        ours.send(b"x")
        serving.join()
        door.close()


@pytest.fixture
def listener(path):
    """The socket of a scripted router."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        listening.settimeout(LIMIT)
        yield listening


class Peer:
    """A scripted router's end of one connection."""

    def __init__(self, listener):
        self.socket, _ = listener.accept()
        self.socket.settimeout(LIMIT)
        self._framing = Framing()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def shake_hands(self):
        self.socket.sendall(opening())
        assert self.next().type == "HELLO"
        return self

    def welcome(self):
        self.send(Envelope("WELCOME"))
        return self

    def send(self, *messages):
        self.socket.sendall(b"".join(encode(message.to_frames()) for message in messages))

    def next(self):
        while (frames := self._framing.message()) is None:
            chunk = self.socket.recv(65536)
            assert chunk, "the pump has closed the connection"
            self._framing.feed(chunk)
        return parse(frames)

    def saw_end(self):
        """Whether the pump closes this connection, whatever it sends before."""
        with contextlib.suppress(ConnectionResetError):
            while self.socket.recv(65536):
                pass
        return True


def numbered(number, size=0):
    return note("nobody", "n", {"n": number, "fill": bytes(size)})


def number(message):
    return message.value()["n"]


# With a real router


def test_a_request_goes_to_the_one_who_is_meant_and_the_answer_comes_back(path, router):
    with Running(path, "echo/3") as echo, Running(path) as asker:
        assert echo.welcomes.get(timeout=LIMIT)
        assert asker.welcomes.get(timeout=LIMIT)
        asked = request("echo", "x.y", {"a": 1})
        asker.pump.send(asked)
        heard = echo.next()
        assert (heard.id, heard.fr, heard.value()) == (asked.id, "asker/1", {"a": 1})
        echo.pump.send(answer(heard, {"b": 2}))
        final = asker.next()
        assert (final.type, final.re, final.fr, final.value()) == ("FIN", asked.id, "echo/3", {"b": 2})


def test_a_large_message_passes_whole(path, router):
    large = os.urandom(1 << 20) * 16
    with Running(path, "echo/1") as echo, Running(path) as asker:
        echo.welcomes.get(timeout=LIMIT)
        asker.pump.send(Envelope("NOTE", to="echo", op="x", buffers=(large, b"", b"end")))
        assert echo.next().buffers == (large, b"", b"end")


def test_many_messages_of_several_threads_keep_their_order(path, router):
    with Running(path, "echo/1") as echo, Running(path) as asker:
        echo.welcomes.get(timeout=LIMIT)

        def say(who):
            for turn in range(1000):
                asker.pump.send(note("echo", "n", {"who": who, "turn": turn}))

        threads = [threading.Thread(target=say, args=(who,)) for who in range(4)]
        for thread in threads:
            thread.start()
        heard = [echo.next().value() for _ in range(4000)]
        for thread in threads:
            thread.join()
    for who in range(4):
        assert [said["turn"] for said in heard if said["who"] == who] == list(range(1000))


def test_stop_sends_what_is_queued_first(path, router):
    with Running(path, "echo/1") as echo:
        echo.welcomes.get(timeout=LIMIT)
        asker = Running(path)
        for turn in range(2000):
            asker.pump.send(note("echo", "n", {"n": turn, "fill": bytes(2000)}))
        asker.pump.stop()
        asker.pump.run()
        assert [number(echo.next()) for _ in range(2000)] == list(range(2000))


ROUTER = """
import os, sys
from pathlib import Path
from transport.router import RouterSocket
door = RouterSocket(Path(sys.argv[1]), {})
print("bound", flush=True)
door.run(0, lambda: False)
"""


@contextlib.contextmanager
def router_process(path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-c", ROUTER, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment) as process:
        assert process.stdout.readline() == b"bound\n"
        yield process
        process.kill()


def test_a_router_that_was_killed_is_met_again_and_what_was_queued_arrives_once(path):
    with Running(path) as asker:
        with router_process(path) as process:
            asker.welcomes.get(timeout=LIMIT)
            assert asker.losses.empty()
            process.send_signal(signal.SIGKILL)
            assert asker.losses.get(timeout=LIMIT)
        pings = [Envelope("PING", id=bytes([turn])) for turn in range(200)]
        for ping in pings:
            asker.pump.send(ping)
        with router_process(path):
            asker.welcomes.get(timeout=LIMIT)
            assert [asker.next().re for _ in pings] == [ping.id for ping in pings]
            asker.pump.send(request("router", "router.peers", {}))
            assert asker.next().value()["counters"] == {
                "received_HELLO": 1,
                "received_PING": len(pings),
                "received_REQ": 1,
            }
            assert asker.losses.empty()
        assert asker.losses.get(timeout=LIMIT)


def test_it_needs_no_zeromq_and_no_thread():
    script = "import sys, transport.pump; assert 'zmq' not in sys.modules"
    subprocess.run([sys.executable, "-P", "-c", script], env={"PYTHONPATH": str(ROOT)}, check=True)


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


# The outbox's bounds


def test_so_many_messages_wait_and_no_more(path, monkeypatch):
    monkeypatch.setattr(pumping, "MAX_WAITING", 3)
    pump = Pump(path, "asker/1", print)
    for turn in range(3):
        pump.send(numbered(turn))
    with pytest.raises(BacklogError, match="3 messages"):
        pump.send(numbered(3))


def test_so_many_bytes_wait_until_they_have_left(path, listener, monkeypatch):
    monkeypatch.setattr(pumping, "MAX_WAITING_BYTES", 10_000)
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


# Descriptors, timers, signals, callbacks


@pytest.fixture
def alone(path):
    """A pump without a router, for the test's own thread."""
    return Pump(path, "asker/1", print)


@pytest.fixture
def pipes():
    made = [os.pipe() for _ in range(2)]
    yield made
    for descriptor in (end for pipe in made for end in pipe):
        os.close(descriptor)


def test_a_callback_is_called_as_long_as_there_is_something_to_read(alone, pipes):
    (reader, writer), _ = pipes
    read = []

    def on_readable():
        read.append(os.read(reader, 1))
        if len(read) == 3:
            alone.stop()

    alone.watch(reader, on_readable)
    os.write(writer, b"abc")
    alone.run()
    assert read == [b"a", b"b", b"c"]


def test_who_was_unwatched_in_the_same_round_is_not_called(alone, pipes):
    called = []

    def on_readable(me, other):
        called.append(me)
        alone.unwatch(other)
        alone.unwatch(me)
        alone.stop()

    (one, _), (two, _) = pipes
    alone.watch(one, functools.partial(on_readable, one, two))
    alone.watch(two, functools.partial(on_readable, two, one))
    for _, writer in pipes:
        os.write(writer, b"x")
    alone.run()
    assert len(called) == 1


def test_the_end_of_a_pipe_is_told_and_unwatching_twice_is_fine(alone):
    reader, writer = os.pipe()
    read = []

    def on_readable():
        read.append(os.read(reader, 1))
        alone.unwatch(reader)
        alone.unwatch(reader)
        alone.stop()

    alone.watch(reader, on_readable)
    os.close(writer)
    alone.run()
    os.close(reader)
    assert read == [b""]


def test_timers_go_off_in_the_order_of_their_times(alone):
    happened = []
    alone.call_later(0.02, lambda: (happened.append("late"), alone.stop()))
    alone.call_later(0.01, lambda: happened.append("early"))
    alone.call_later(0, lambda: alone.call_later(0, lambda: happened.append("at once")))
    alone.call(lambda: happened.append("called"))
    alone.run()
    assert happened == ["called", "at once", "early", "late"]


def test_a_call_from_another_thread_wakes_the_pump(path, router):
    with Running(path) as asker:
        asker.welcomes.get(timeout=LIMIT)
        assert [asker.inside(lambda turn=turn: turn) for turn in range(50)] == list(range(50))


def test_a_signal_is_seen_through_the_wakeup_descriptor(alone):
    ours, its = socket.socketpair()
    with ours, its:
        its.setblocking(False)
        before = signal.signal(signal.SIGUSR1, lambda *_: None)
        previous = signal.set_wakeup_fd(its.fileno())
        try:
            alone.watch(ours.fileno(), lambda: (ours.recv(10), alone.stop()))
            killing = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGUSR1))
            alone.call(killing.start)
            alone.run()
            killing.join()
        finally:
            signal.set_wakeup_fd(previous)
            signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("error", [ZeroDivisionError, OSError, BlockingIOError])
def test_an_exception_in_a_callback_ends_the_loop(path, router, error):
    def fail(_=None):
        raise error

    pump = Pump(path, "asker/1", fail)
    pump.send(Envelope("PING", id=b"1"))
    with pytest.raises(error):
        pump.run()
    pump = Pump(path, "asker/2", print)
    pump.call(fail)
    with pytest.raises(error):
        pump.run()


def test_nothing_is_left_open(path, router, no_leaks):
    with Running(path) as asker:
        asker.welcomes.get(timeout=LIMIT)
    del asker
