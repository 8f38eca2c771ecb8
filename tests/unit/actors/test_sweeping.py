"""Requests about what a sweep may delete wait until that is decided: so many, and in their order."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from actors import messages as m
from actors.call import Call
from actors.mailbox import LIMIT, MOST_BYTES
from actors.sweeping import SweepingActor
from transport.envelope import request


class _Store(SweepingActor):
    """Whose answer from metadata comes when the test says so."""

    def __init__(self):
        super().__init__(SimpleNamespace(birth=SimpleNamespace(name="store", settings=None), pump=None))
        self.done = []

    def concerns(self, body):
        return [body.digest]

    def ask(self, _, then, **__):
        self.decided = then

    def _take_up(self, message):
        self.done.append(message)

    def asked(self, digest, size=0):
        """What the request is answered so far."""
        answers = []
        call = Call(request("store", "content.info", {}), m.ContentInfo(digest), answers.append)
        call.size = size
        self.on_receive(call)
        return call, answers


@pytest.fixture
def store():
    found = _Store()
    found.host.meter = SimpleNamespace(work=SimpleNamespace(add=lambda _: None))
    found.sweep(["going"], None, lambda _: None)
    return found


def test_what_is_about_others_does_not_wait(store):
    call, _ = store.asked("another")
    assert store.done == [call]


def test_those_that_wait_are_as_many_as_a_mailbox_takes(store):
    waiting = [store.asked("going")[0] for _ in range(LIMIT)]
    _, answers = store.asked("going")
    assert [one.value()["code"] for one in answers] == ["overloaded"]
    assert store.done == []
    store.decided({})
    assert store.done == waiting
    store.sweep(["going"], None, lambda _: None)
    assert store.asked("going")[1] == []


def test_nor_are_they_larger_but_a_first_one_has_room(store):
    assert store.asked("going", MOST_BYTES + 1)[1] == []
    _, answers = store.asked("going", 1)
    assert [one.value()["code"] for one in answers] == ["overloaded"]
