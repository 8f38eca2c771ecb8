"""A bundle that is made anew: what was asked for before is given up, and nothing overlaps."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from actors import messages as m
from actors.actor import Actor
from actors.making import MARGIN, Making
from actors.meter import Meter
from actors.questions import RETRY_AFTER
from transport.envelope import failure
from transport.errors import RemoteError


def test_what_was_asked_for_before_is_given_up_and_nothing_overlaps():
    order = []
    first = Making(30.0, None)
    question = first.hold(Future())

    def ask():
        try:
            question.result(20)
        finally:
            order.append("first is over")

    errors = []

    def perform():
        try:
            first.perform(ask)
        except RemoteError as error:
            errors.append(error)

    thread = threading.Thread(target=perform)
    thread.start()
    second = Making(30.0, first)
    assert question.cancelled()
    assert second.perform(lambda: order.append("second begins") or 7) == 7
    thread.join()
    assert order == ["first is over", "second begins"]
    assert [one.code for one in errors] == ["unavailable"]


def test_what_is_asked_for_too_late_is_given_up_at_once():
    first = Making(30.0, None)
    Making(30.0, first)
    assert first.hold(Future()).cancelled()


def test_it_asks_for_nothing_when_the_one_who_waits_gives_up():
    assert Making(MARGIN, None).left(30.0) == 0.0
    assert 0 < Making(20.0, None).left(30.0) <= 20.0 - MARGIN
    assert Making(0, None).left(30.0) == 30.0


class Asking:
    """An actor that nobody runs; what it sends, and its timers, are for the test to see."""

    def __init__(self):
        self.sent, self.timers = [], []
        later = lambda seconds, function: self.timers.append((seconds, function))  # noqa: E731
        pump = SimpleNamespace(send=self.sent.append, call_later=later)
        birth = SimpleNamespace(name="bundles", settings=None)
        self.actor = Actor(SimpleNamespace(birth=birth, pump=pump, meter=Meter()))

    def work_off(self):
        while not self.actor.actor_inbox.empty():
            self.actor.on_receive(self.actor.actor_inbox.get().message)


@pytest.mark.parametrize("given_up", [False, True])
def test_a_question_that_is_given_up_is_not_sent_again(given_up):
    asking = Asking()
    future = asking.actor.asking(m.NetworkDetach("n", "id"))
    asking.work_off()
    (first,) = asking.sent
    ended = RemoteError("unavailable", "actor network ended", outcome="unknown")
    asking.actor.on_receive(failure(first, ended))
    ((pause, again),) = asking.timers
    assert pause == RETRY_AFTER
    if given_up:
        future.cancel()
    again()
    asking.work_off()
    assert len(asking.sent) == (1 if given_up else 2)
    asking.actor.actor_ref.stop(block=False)


def test_an_answer_to_what_was_given_up_does_no_harm():
    asking = Asking()
    future = asking.actor.asking(m.NetworkDetach("n", "id"))
    asking.work_off()
    (question,) = asking.actor._questions.open.values()
    future.cancel()
    question.then({})
    assert future.cancelled()
    asking.actor.actor_ref.stop(block=False)
