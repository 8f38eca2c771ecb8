"""An actor that is long with one message: what goes on meanwhile, and what does not."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from actor_town import LIMIT, Town

from actors import messages as m
from actors.actor import Actor
from actors.host import FIGURES
from actors.linux.libc import libc
from transport.envelope import answer, note, parse, request
from transport.zmtp import Dealer


class Long(Actor):
    """In the place of the network actor: what the namespace says is what it does, until the gate opens."""

    kind = "network"

    def started(self):
        self.turned_by = "nobody"
        self.host.divert = self._look

    def _look(self, message):
        """In the pump's thread."""
        self.turned_by = threading.current_thread().name
        if message.op == "who":
            self.host.pump.send(answer(message, {"thread": self.turned_by}))
        if message.op == "fail":
            raise ZeroDivisionError("in the pump")
        return message.op == "who"

    def network_attach(self, body, _):
        opened = self.settings.state / "opened"
        match body.namespace:
            case "block":
                wait_at(body.id)
            case "block in c":
                gate = os.open(body.id, os.O_RDONLY)
                room = ctypes.create_string_buffer(1)
                return {"read": libc.read(gate, room, 1)}
            case "help itself":
                self.work(lambda: self._open(body.id), lambda _: opened.touch())
                wait_at(body.id)
            case "finish":
                self.finish()
                wait_at(body.id)
        return {"turned by": self.turned_by, "thread": threading.current_thread().name}

    def _open(self, gate):
        """In a worker's thread: once it has its answer, the gate opens."""
        self.call(m.ImagesList("x"), limit=LIMIT)
        Path(gate).write_text("!")


class Images(Actor):
    """In the place of metadata."""

    kind = "metadata"

    def images_list(self, _body, _call):
        return {"images": []}


def wait_at(gate):
    """Until somebody has written to it."""
    descriptor = os.open(gate, os.O_RDONLY)
    os.read(descriptor, 1)
    os.close(descriptor)


@pytest.fixture
def town(tmp):
    with Town(tmp) as one:
        yield one


@pytest.fixture
def long(town):
    return town.actor(Long)


@pytest.fixture
def client(town):
    return town.client()


@pytest.fixture
def gate(town):
    path = town.settings.state / "gate"
    os.mkfifo(path)
    return path


class Blocked:
    """The actor, from when it reads from the gate to when that opens."""

    def __init__(self, town: Town, gate: Path, how: str = "block") -> None:
        self.dealer = Dealer(os.fspath(town.settings.router_socket), LIMIT)
        body = {"namespace": how, "id": str(gate)}
        self.dealer.send(request("network", "network.attach", body).to_frames())
        self.keeper = os.open(gate, os.O_WRONLY)  # it has opened it

    def open(self):
        os.write(self.keeper, b"!")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.keeper)
        self.dealer.close()


def attach(client, namespace="x", name=""):
    return client.request("network.attach", {"namespace": namespace, "id": name}, to="network", limit=LIMIT)


def who(client):
    return client.request("who", {}, to="network", limit=LIMIT)["thread"]


def handled_by_its_reader(client):
    """Whether some message is before long; on a busy machine any may be one that takes too long."""
    end = time.monotonic() + LIMIT
    while attach(client) != {"turned by": "MainThread", "thread": "MainThread"}:
        assert time.monotonic() < end
    return True


def test_a_message_is_handled_by_the_thread_that_has_read_it(long, client):
    assert handled_by_its_reader(client)


def test_the_relief_turns_the_pump_while_the_actor_is_stuck_and_then_no_longer(long, town, client, gate):
    with Blocked(town, gate) as blocked:
        assert who(client) == "relief"
        assert client.request(FIGURES, {}, to="network", limit=LIMIT)["waiting"] == 0
        blocked.open()
        assert handled_by_its_reader(client)


def test_a_heartbeat_is_not_answered_by_the_relief(long, town, client, gate):
    with Blocked(town, gate) as blocked:
        long.control.send(op="ping")
        assert who(client) == "relief"
        assert who(client) == "relief"  # it has heard the ping, if not before then between these two
        long.listen()
        assert [one["op"] for one in long.said] == ["ready"]
        blocked.open()
        long.hear("pong")


def test_a_thread_of_its_own_has_its_answer_while_the_actor_waits_for_that_thread(long, town, client, gate):
    town.actor(Images)
    attach(client, "help itself", str(gate))


def test_who_has_finished_ends_although_it_is_stuck(long, town, gate):
    with Blocked(town, gate, "finish"):
        assert long.wait() == 0


def test_what_fails_in_the_pump_ends_the_process_with_last_words(long, town, gate, client):
    with Blocked(town, gate) as blocked:
        blocked.dealer.send(note("network", "fail", {}).to_frames())
        assert long.wait() == 1
        assert long.said[-1] == {"op": "last_words", "reason": "ZeroDivisionError: in the pump"}


def test_what_fails_in_the_pump_does_so_too_where_the_actor_turns_it(long, town, client):
    dealer = Dealer(os.fspath(town.settings.router_socket), LIMIT)
    dealer.send(note("network", "fail", {}).to_frames())
    assert long.wait() == 1
    assert long.said[-1] == {"op": "last_words", "reason": "ZeroDivisionError: in the pump"}
    dealer.close()


def test_a_signal_breaks_off_no_call_that_the_actor_is_in(long, town, gate):
    with Blocked(town, gate, "block in c") as blocked:
        for _ in range(20):
            long.kill(signal.SIGCHLD)
        long.kill(signal.SIGTERM)
        blocked.open()
        final = parse(blocked.dealer.receive(LIMIT))
        assert final.value() == {"read": 1}
        assert long.wait() == 0
