"""An actor in its process, at a real router: what clients and other actors see of it."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import time
from pathlib import Path

import msgspec
import pytest
from actor_town import LIMIT, Town

from actors import messages as m
from actors.actor import Actor
from actors.call import LATER, Call
from actors.mailbox import LIMIT as ROOM
from actors.mailbox import MOST_BYTES, Mailbox
from actors.router import run as run_router
from transport.envelope import Envelope, parse, request
from transport.errors import RemoteError
from transport.zmtp import Dealer


class Odd(Actor):
    """In the place of the network actor: what the namespace says is what it does."""

    kind = "network"

    def started(self):
        self.waiting, self.notes = [], []

    def stopping(self):
        self.notes = None  # as others close a database
        super().stopping()

    def network_attach(self, body, call):
        match body.namespace:
            case "fail":
                raise RemoteError("not_found", f"no {body.id}", details={"n": 1})
            case "crash":
                raise RuntimeError(f"lost {body.id}")
            case "leave":
                os._exit(3)
            case "use":
                self.notes.append(body.id)
            case "later":
                self.waiting.append(call)
                return LATER
            case "answer":
                for one in self.waiting:
                    one.reply({"for": body.id})
            case "block":
                os.read(os.open(body.id, os.O_RDONLY), 1)
            case "ask" | "ask at first":
                again = body.id if body.namespace == "ask" else "nothing"
                self.ask(m.ImagesList(again), call.settle, limit=LIMIT, first=m.ImagesList(body.id))
                return LATER
            case "ask once":
                self.ask(m.ImagesDelete("n", body.id), call.settle, limit=LIMIT)
                return LATER
            case "work":
                self.work(lambda: self.call(m.ImagesList(body.id), limit=LIMIT), call.settle)
                return LATER
            case "bad continuation":
                self.soon(lambda: {}["gone"])
        return {"namespace": body.namespace}

    def network_detach(self, _body, call):
        """A stream of ten bytes at a time, as far as the credit goes."""
        self.stream = call
        self.credited(call)
        return LATER

    def network_check(self, _body, _):
        calls = list(self._calls)
        kept = [frame for call in calls for frame in (call.envelope.body, *call.envelope.buffers)]
        return {"open": len(calls), "bytes": sum(map(len, kept))}

    def credited(self, call):
        while call.open and call.credit > 0:
            call.part({"left": call.credit}, bytes(10))

    def cancelled(self, call):
        (self.settings.state / "cancelled").touch()
        super().cancelled(call)


class Images(Actor):
    """In the place of metadata."""

    kind = "metadata"

    def images_list(self, body, _):
        once = Path(body.namespace)
        if once.exists():
            once.unlink()
            os._exit(9)
        return {"images": [self.birth.inc]}

    def images_delete(self, body, call):
        return self.images_list(m.ImagesList(body.name), call)


@pytest.fixture
def town(tmp):
    with Town(tmp) as one:
        yield one


@pytest.fixture
def odd(town):
    return town.actor(Odd)


@pytest.fixture
def client(town):
    return town.client()


def attach(client, namespace, name="", **options):
    body = {"namespace": namespace, "id": name}
    return client.request("network.attach", body, to="network", limit=LIMIT, **options)


def refused(client, op, body, to="network"):
    with pytest.raises(RemoteError) as caught:
        client.request(op, body, to=to, limit=LIMIT)
    return caught.value


@pytest.fixture
def dealer(town):
    one = Dealer(os.fspath(town.settings.router_socket), LIMIT)
    yield one
    one.close()


def post(dealer, message):
    dealer.send(message.to_frames())
    return message


def final(dealer):
    return next_of(dealer, "FIN", "ERR")


def next_of(dealer, *types):
    """Whatever else comes is passed over: the router asks those that wait for long whether they are there."""
    while True:
        message = parse(dealer.receive(LIMIT))
        if message.type in types:
            return message


def test_a_request_is_answered(odd, client):
    assert attach(client, "x") == {"namespace": "x"}


def test_an_error_of_the_operation_travels_whole(odd, client):
    error = refused(client, "network.attach", {"namespace": "fail", "id": "7"})
    assert (error.code, str(error), error.details) == ("not_found", "no 7", {"n": 1})


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"namespace": 1, "id": "x"}, "namespace"),
        ({"namespace": "x"}, "id"),
        ({"namespace": "x", "id": None}, "id"),
        ({"namespace": "x", "id": b"x"}, "id"),
        ({}, "namespace"),
    ],
)
def test_a_wrong_type_names_the_field(odd, client, body, named):
    error = refused(client, "network.attach", body)
    assert error.code == "invalid_argument"
    assert str(error).startswith("network.attach: ")
    assert f"`{named}`" in str(error) or f"$.{named}" in str(error)


def test_an_unknown_field_is_ignored(odd, client):
    body = {"namespace": "x", "id": "y", "new": 1}
    assert client.request("network.attach", body, to="network") == {"namespace": "x"}


@pytest.mark.parametrize("op", ["network.nothing", "images.get", "", "_perform", "started", "on_failure"])
def test_an_operation_that_is_not_its_own(odd, client, op):
    error = refused(client, op, {"namespace": "x", "id": "y"})
    assert (error.code, str(error)) == ("not_implemented", f"network has no operation {op!r}")


@pytest.mark.parametrize(
    "body", [b"\xc1", b"", b"\x91" * 3000 + b"\xc0", b"\xdd\x05\xf5\xe1\x00", b"\x90", b"\xc0"]
)
def test_a_body_that_is_no_map(odd, dealer, client, body):
    asked = post(dealer, Envelope("REQ", id=b"i" * 16, to="network", op="network.attach", body=body))
    error = RemoteError.from_body(final(dealer).value())
    assert (asked.op, error.code, error.outcome) == ("network.attach", "invalid_argument", "not_started")
    assert attach(client, "x")


def test_a_flood_is_answered_overloaded_and_the_rest_served(odd, town, dealer):
    gate = town.settings.state / "gate"
    os.mkfifo(gate)
    many = ROOM + 50
    post(dealer, request("network", "network.attach", {"namespace": "block", "id": str(gate)}))
    keeper = os.open(gate, os.O_WRONLY)  # it has opened it, so it is busy
    for _ in range(many):
        post(dealer, request("network", "network.attach", {"namespace": "x", "id": ""}))
    codes = [RemoteError.from_body(final(dealer).value()) for _ in range(50)]
    assert {(error.code, error.outcome, error.retryable) for error in codes} == {
        ("overloaded", "not_started", True)
    }
    os.write(keeper, b"!")
    os.close(keeper)
    assert {final(dealer).type for _ in range(ROOM + 1)} == {"FIN"}


def test_what_came_with_a_request_is_not_kept_while_it_waits(odd, dealer):
    """Whoever may ask for something that lasts could fill the memory of who answers."""
    asked = request("network", "network.attach", {"namespace": "later", "id": "you"})
    post(dealer, msgspec.structs.replace(asked, buffers=(bytes(1 << 20),) * 3))
    post(dealer, request("network", "network.check", {}))
    found = final(dealer).value()
    assert found["open"] == 1
    assert found["bytes"] < 100
    post(dealer, request("network", "network.attach", {"namespace": "answer", "id": "you"}))
    assert {(final(dealer).re == asked.id) for _ in range(2)} == {True, False}


def test_an_answer_may_come_later(odd, town, client):
    waiting = Dealer(os.fspath(town.settings.router_socket), LIMIT)
    asked = post(waiting, request("network", "network.attach", {"namespace": "later", "id": ""}))
    attach(client, "ping", repeatable=True)
    while not attach(client, "answer", "me"):
        pass
    answered = final(waiting)
    assert (answered.re, answered.value()) == (asked.id, {"for": "me"})
    waiting.close()


def test_the_deadline_of_a_request_that_nobody_answers(odd, dealer):
    post(dealer, request("network", "network.attach", {"namespace": "later", "id": ""}, deadline=20))
    error = RemoteError.from_body(final(dealer).value())
    assert (error.code, error.outcome, error.actor) == ("deadline_exceeded", "unknown", "network")


def test_an_exception_ends_the_process_with_last_words(odd, town, client, dealer):
    post(dealer, request("network", "network.attach", {"namespace": "crash", "id": "it"}))
    assert odd.wait() == 1
    assert odd.said[-1] == {"op": "last_words", "reason": "RuntimeError: lost it"}
    town.actor(Odd)
    assert attach(client, "x", repeatable=True)


def test_an_exception_in_a_continuation_ends_the_process_too(odd, dealer):
    post(dealer, request("network", "network.attach", {"namespace": "bad continuation", "id": ""}))
    assert odd.wait() == 1
    assert odd.said[-1]["reason"].startswith("KeyError")


def test_sigterm_ends_it_in_order(odd, client):
    attach(client, "x")
    odd.kill(signal.SIGTERM)
    assert odd.wait() == 0
    assert all(one["op"] == "ready" for one in odd.said)


def test_what_waits_for_one_that_is_stopped_is_refused_and_ends_nobody(odd, town, dealer):
    gate = town.settings.state / "gate"
    os.mkfifo(gate)
    post(dealer, request("network", "network.attach", {"namespace": "block", "id": str(gate)}))
    keeper = os.open(gate, os.O_WRONLY)
    post(dealer, request("network", "network.attach", {"namespace": "use", "id": ""}))
    post(dealer, request("network", "no.operation", {}))
    assert final(dealer).type == "ERR"  # the pump's answer: it has passed on what came before
    odd.kill(signal.SIGTERM)
    os.write(keeper, b"!")
    os.close(keeper)
    assert final(dealer).type == "FIN"
    assert odd.wait() == 0
    with contextlib.suppress(TimeoutError):  # it may have ended before it came to that
        error = RemoteError.from_body(parse(dealer.receive(0.1)).value())
        assert (error.code, error.outcome) == ("unavailable", "not_started")


def test_heartbeats_are_answered_by_the_mailbox_thread(odd):
    odd.control.send(op="ping")
    odd.hear("pong")


def test_without_a_zygote_it_ends(odd):
    odd.control.socket.shutdown(socket.SHUT_RDWR)
    assert os.waitstatus_to_exitcode(os.waitpid(odd.pid, 0)[1]) == 1
    odd.pid = 0
    odd.control.close()


@pytest.mark.parametrize("how", ["ask", "work"])
def test_a_question_is_asked_again_when_the_one_asked_dies(odd, town, client, dealer, how):
    trap = town.settings.state / "trap"
    trap.touch()
    images = town.actor(Images)
    post(dealer, request("network", "network.attach", {"namespace": how, "id": str(trap)}))
    assert images.wait() == 9
    town.actor(Images)
    assert final(dealer).value() == {"images": [2]}


def test_what_is_asked_at_first_is_not_repeated(odd, town, client, dealer):
    trap = town.settings.state / "trap"
    trap.touch()
    images = town.actor(Images)
    post(dealer, request("network", "network.attach", {"namespace": "ask at first", "id": str(trap)}))
    assert images.wait() == 9
    trap.touch()  # whoever asked the same again would end the next one, too
    town.actor(Images)
    assert final(dealer).value() == {"images": [2]}


def test_what_may_not_be_repeated_is_not(odd, town, dealer):
    trap = town.settings.state / "trap"
    trap.touch()
    images = town.actor(Images)
    post(dealer, request("network", "network.attach", {"namespace": "ask once", "id": str(trap)}))
    assert images.wait() == 9
    town.actor(Images)
    error = RemoteError.from_body(final(dealer).value())
    assert (error.code, error.outcome) == ("unavailable", "unknown")


def test_a_question_survives_the_router(odd, town):
    town.killed("router")
    town.start("router", run_router)
    town.actor(Images)
    assert attach(town.client(), "ask", "none", repeatable=True) == {"images": [1]}


def open_calls(client):
    """How many requests the odd one has not answered."""
    return client.request("network.check", {}, to="network", limit=LIMIT, repeatable=True)["open"]


def renewed(town):
    """A client of another router."""
    town.killed("router")
    town.start("router", run_router)
    return town.client()


def test_what_was_asked_through_a_router_that_died_is_given_up(odd, town, dealer):
    post(dealer, request("network", "network.detach", {"namespace": "", "id": ""}, credit=5))
    next_of(dealer, "PART")
    assert open_calls(town.client()) == 1
    assert open_calls(renewed(town)) == 0
    assert (town.settings.state / "cancelled").exists()


def test_what_waited_for_its_turn_when_the_router_died_is_not_begun(odd, town, dealer):
    gate = town.settings.state / "gate"
    os.mkfifo(gate)
    post(dealer, request("network", "network.attach", {"namespace": "block", "id": str(gate)}))
    keeper = os.open(gate, os.O_WRONLY)
    post(dealer, request("network", "network.detach", {"namespace": "", "id": ""}, credit=5))
    post(dealer, request("network", "no.operation", {}))
    assert final(dealer).type == "ERR"  # the pump's answer: it has passed on what came before
    client = renewed(town)
    os.write(keeper, b"!")
    os.close(keeper)
    assert open_calls(client) == 0
    assert not (town.settings.state / "cancelled").exists(), "it was begun, and taken back"


def test_what_the_next_router_has_brought_already_is_kept(odd, town, dealer):
    """The actor hears of the loss late: it is busy."""
    gate = town.settings.state / "gate"
    os.mkfifo(gate)
    post(dealer, request("network", "network.attach", {"namespace": "block", "id": str(gate)}))
    keeper = os.open(gate, os.O_WRONLY)
    client = renewed(town)
    until = time.monotonic() + LIMIT
    while "network" not in client.request("router.peers", {}, to="router")["names"]:
        assert time.monotonic() < until
        time.sleep(0.01)
    with contextlib.closing(Dealer(os.fspath(town.settings.router_socket), LIMIT)) as anew:
        post(anew, request("network", "network.detach", {"namespace": "", "id": ""}, credit=5))
        os.write(keeper, b"!")
        os.close(keeper)
        next_of(anew, "PART")
    assert open_calls(client) == 1


def test_parts_come_as_far_as_the_credit_goes(odd, dealer):
    body = {"namespace": "", "id": ""}
    asked = post(dealer, request("network", "network.detach", body, credit=25))
    parts = [next_of(dealer, "PART") for _ in range(3)]
    assert [one.value()["left"] for one in parts] == [25, 15, 5]
    post(dealer, Envelope("CREDIT", re=asked.id, credit=16))
    more = [next_of(dealer, "PART") for _ in range(2)]
    assert [one.value()["left"] for one in more] == [11, 1]
    post(dealer, Envelope("CREDIT", re=b"unknown", credit=100))
    post(dealer, Envelope("CANCEL", re=asked.id))
    error = final(dealer)
    assert (error.re, RemoteError.from_body(error.value()).code) == (asked.id, "unavailable")


def test_a_cancel_that_overtakes_its_request_still_counts(odd, town, dealer):
    gate = town.settings.state / "gate"
    os.mkfifo(gate)
    post(dealer, request("network", "network.attach", {"namespace": "block", "id": str(gate)}))
    keeper = os.open(gate, os.O_WRONLY)
    asked = post(dealer, request("network", "network.detach", {"namespace": "", "id": ""}, credit=5))
    post(dealer, Envelope("CANCEL", re=asked.id))
    post(dealer, request("network", "no.operation", {}))
    assert final(dealer).type == "ERR"  # the pump's answer: it has passed on what came before
    os.write(keeper, b"!")
    os.close(keeper)
    assert final(dealer).type == "FIN"
    assert RemoteError.from_body(final(dealer).value()).code == "unavailable"


# The mailbox by itself


class Item:
    def __init__(self, message):
        self.message = message


def _call(number):
    return Call(request("a", "b", {}), number, lambda _: None)


def test_what_the_actor_waits_for_overtakes_requests():
    box = Mailbox(ordinary=Call, limit=10)
    for one in (_call(1), "urgent 1", _call(2), "urgent 2"):
        box.put(Item(one))
    taken = [box.get().message for _ in range(4)]
    assert taken[:2] == ["urgent 1", "urgent 2"]
    assert [one.body for one in taken[2:]] == [1, 2]
    assert box.empty()


def test_requests_are_bounded_by_what_comes_with_them_too():
    box, large = (
        Mailbox(ordinary=Call),
        msgspec.structs.replace(request("a", "b", {}), buffers=(bytes(MOST_BYTES),)),
    )
    for _ in range(2):
        box.put(Item(Call(large, 1, lambda _: None)))  # however large, a first one has room
        with pytest.raises(queue.Full):
            box.put(Item(_call(2)))
        assert box.get().message.body == 1
    for number in range(100):
        box.put(Item(_call(number)))


def test_only_requests_are_bounded():
    box = Mailbox(ordinary=Call, limit=2)
    for number in range(2):
        box.put(Item(_call(number)))
    with pytest.raises(queue.Full):
        box.put(Item(_call(2)))
    for number in range(100):
        box.put(Item(number))
    assert len(box) == 102
    assert [box.get().message for _ in range(100)] == list(range(100))
    assert box.get().message.body == 0
    box.put(Item(_call(3)))
    assert [box.get().message.body for _ in range(2)] == [1, 3]
    assert box.refused == 1
    assert sum(box.waits.to_dict()["counts"]) == 3, (
        "of what overtakes requests nobody asks how long it waited"
    )


def test_no_request_is_taken_up_while_too_much_waits_to_be_said():
    box, held, waited = Mailbox(ordinary=Call), [True], []

    def wait(nothing):
        if nothing():
            waited.append(len(box))
            held.clear()

    box.wait, box.held = wait, lambda: bool(held)
    box.put(Item(_call(1)))
    box.put(Item("urgent"))
    assert box.get().message == "urgent"
    assert not waited
    assert not box.empty(), "it waits all the same"
    assert box.get().message.body == 1
    assert waited == [1]
