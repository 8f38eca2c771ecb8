"""Waiting for the end of a process, for a client of containerd's API: what it leaves behind, when it ends."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from actors.gateway.waiting import Waiting
from transport.errors import RemoteError

AWAY = RemoteError("unavailable", "the router went away", outcome="unknown")


class _Call:
    """A client that waits until it is `over`."""

    def __init__(self):
        self.active, self.told = True, []

    def when_over(self, function):
        self.told.append(function)

    def over(self):
        self.active = False
        for function in self.told:
            function()


@pytest.fixture
def questions(monkeypatch):
    """What was asked, the oldest first."""
    monkeypatch.setattr("actors.gateway.waiting.record", lambda *_: {"actor": "container/n/a"})
    return []


def _begin(call, questions, meanwhile=lambda: None):
    """Wait for a process; whatever is done later is done at once. What the client is answered."""
    answers = []

    def following(*_, **__):
        questions.append(Future())
        meanwhile()
        return questions[-1]

    actor = SimpleNamespace(
        following=following, later=lambda _, then: then(), work=lambda function, then: then(function())
    )
    answer = SimpleNamespace(give=answers.append, refuse=answers.append)
    Waiting(SimpleNamespace(actor=actor), call, answer, dict, lambda error: error).begin("a", "")
    return answers


def test_who_is_away_is_asked_again_and_nothing_is_piled_up_for_that(questions):
    call = _Call()
    answers = _begin(call, questions)
    for _ in range(5):
        questions[-1].set_result(AWAY)
    assert (len(questions), len(call.told), answers) == (6, 1, [])
    questions[-1].set_result({"exited_at": 5})
    assert answers == [{"exited_at": 5}]


def test_of_a_client_that_goes_the_last_question_is_taken_back(questions):
    call = _Call()
    answers = _begin(call, questions)
    questions[-1].set_result(AWAY)
    call.over()
    assert (questions[-1].cancelled(), answers) == (True, [])


def test_a_client_may_go_while_it_is_asked(questions):
    call = _Call()
    answers = _begin(call, questions, meanwhile=call.over)
    assert ([one.cancelled() for one in questions], answers) == ([True], [])
