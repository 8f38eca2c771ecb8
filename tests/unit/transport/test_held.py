"""Answers for a peer whose queue is full arrive all the same, once, in order; within bounds."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
import zmq

from transport.doors import FullError, UnreachableError
from transport.envelope import Envelope, parse
from transport.held import MOST, MOST_BYTES, Held

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Sockets = tuple["zmq.Socket[bytes]", "zmq.Socket[bytes]"]


@pytest.fixture
def sockets(tmp: Path) -> Iterator[Sockets]:
    """A router and a peer named `a`, with hardly any room between them."""
    with zmq.Context() as context:
        router, peer = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
        for one in (router, peer):
            for option, value in ((zmq.LINGER, 0), (zmq.SNDHWM, 2), (zmq.RCVHWM, 2), (zmq.SNDBUF, 4096)):
                one.setsockopt(option, value)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        peer.setsockopt(zmq.ROUTING_ID, b"a")
        router.bind(f"ipc://{tmp}/s")
        peer.connect(f"ipc://{tmp}/s")
        peer.send(b"")
        router.recv_multipart()
        yield router, peer
        router.close()
        peer.close()


def answer(number: int, size: int = 2000) -> Envelope:
    return Envelope(
        "FIN", re=number.to_bytes(16, "big"), body=b"\xc5" + size.to_bytes(2, "big") + bytes(size)
    )


def sending(router: zmq.Socket[bytes], address: str, message: Envelope) -> None:
    """As the door to other hosts does."""
    try:
        router.send_multipart([address.encode(), *message.to_frames()], zmq.NOBLOCK)
    except zmq.Again:
        raise FullError from None
    except zmq.ZMQError:
        raise UnreachableError from None


def test_every_answer_comes_when_the_peer_reads_again(sockets: Sockets):
    router, peer = sockets
    held = Held()

    send = partial(sending, router)
    kept = 0
    for number in range(150):
        try:
            send("a", answer(number))
        except FullError:
            assert held.keep("a", answer(number))
            kept += 1
    assert kept > 0
    found: list[int] = []
    until = time.monotonic() + 60
    while len(found) < 150 and time.monotonic() < until:
        held.retry(send, 5.0)
        if peer.poll(20):
            found.append(int.from_bytes(parse(peer.recv_multipart()).re, "big"))
    assert sorted(found) == list(range(150))
    assert held.retry(send, 5.0) is None


def test_what_is_for_nobody_any_more_goes(sockets: Sockets):
    held = Held()
    assert held.keep("b", answer(1))

    assert held.retry(partial(sending, sockets[0]), 5.0) is None


def test_what_a_peer_may_have_waiting_is_bounded():
    held = Held()
    assert all(held.keep("a", answer(number, 1)) for number in range(MOST))
    assert not held.keep("a", answer(MOST, 1))
    assert held.keep("b", answer(0, 1)), "another peer has room of its own"
    large = Envelope("FIN", re=bytes(16), buffers=(bytes(MOST_BYTES),))
    assert not held.keep("c", large)
    assert not held.keep("d", Envelope("PART", re=bytes(16))), "a stream has its credit"


@pytest.mark.parametrize("kind", ["CREDIT", "CANCEL"])
def test_what_is_said_once_about_a_request_waits_too(kind):
    """Without it an actor that is only slow waits for credit, or works for nobody, for ever."""
    held, sent = Held(), []
    for number in (b"1", b"2"):
        assert held.keep("images/4", Envelope(kind, re=number, fr="~01"))
    assert held.retry(lambda _, message: sent.append(message.re), 5.0) is None
    assert sent == [b"1", b"2"]
    while held.keep("images/4", Envelope(kind, re=b"3", fr="~01")):
        pass
    assert held.keep("images/4", answer(1, 1)), "an answer has room of its own"


def test_a_full_queue_is_tried_again_later():
    held = Held()
    held.keep("a", answer(0))

    def full(_: str, __: Envelope) -> None:
        raise FullError

    assert held.retry(full, 5.0) == pytest.approx(5.02)
