"""The pump with a real router, and what it does beside messages."""

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.unit.transport.running import LIMIT, Running, number
from transport.envelope import Envelope, answer, note, request
from transport.pump import Pump
from transport.router import RouterSocket

ROOT = Path(__file__).parents[3]


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


def test_what_the_kernel_takes_in_part_keeps_its_place_among_what_other_threads_send(path, router):
    large = os.urandom(700_000)
    with Running(path, "echo/1") as echo, Running(path) as asker:
        echo.welcomes.get(timeout=LIMIT)

        def say(who):
            for turn in range(60):
                buffers = (large,) if turn % 7 == who else ()
                message = note("echo", "n", {"who": who, "turn": turn})
                asker.pump.send(replace(message, buffers=buffers))

        threads = [threading.Thread(target=say, args=(who,)) for who in range(4)]
        for thread in threads:
            thread.start()
        heard = [echo.next() for _ in range(240)]
        for thread in threads:
            thread.join()
    for who in range(4):
        own = [(one.value()["turn"], one.buffers) for one in heard if one.value()["who"] == who]
        assert own == [(turn, (large,) if turn % 7 == who else ()) for turn in range(60)]


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
    script = "import sys, transport.pump, transport.router; assert 'zmq' not in sys.modules"
    subprocess.run([sys.executable, "-P", "-c", script], env={"PYTHONPATH": str(ROOT)}, check=True)


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


def test_who_is_not_idle_does_not_wait(alone):
    alone.call_later(3600, print)
    assert all(alone.turn(lambda: False) for _ in range(10))
    alone.call(alone.stop)
    assert alone.turn()  # it only knows now, and has to see to what is queued once more
    assert not alone.turn()


def test_whoever_says_something_while_the_pump_is_about_to_wait_ends_that(alone):
    """Asked whether it is idle, it says so, but by then there is something."""
    happened = []
    for turn in range(50):
        assert alone.turn(lambda turn=turn: alone.call(lambda: happened.append(turn)) is None)
    assert happened == list(range(50))
    waking = threading.Thread(target=alone.wake)
    alone.turn(lambda: waking.start() is None)
    waking.join()


def test_several_threads_may_turn_it_one_after_the_other(alone, path, router):
    seen, turning = [], threading.Lock()
    alone.on_welcome = lambda: seen.append("welcome")

    def turn():
        while True:
            with turning:
                if not alone.turn(lambda: not seen):
                    return
                if len(seen) == 1:
                    seen.append("over")
                    alone.stop()

    threads = [threading.Thread(target=turn) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()
    alone.close()
    assert seen == ["welcome", "over"]


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
