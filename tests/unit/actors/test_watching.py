"""Death watch and links: one notice for each watch, whoever asks and whenever."""

from __future__ import annotations

import pytest

from actors.messages import ActorsWatch
from actors.supervision import ExitReason
from actors.watching import MOST, Watches
from transport.errors import RemoteError

KILLED = ExitReason("killed", signal=9)


class Asked:
    """A call that counts its answers."""

    def __init__(self):
        self.open = True
        self.answers = []

    def reply(self, body):
        self.open = False
        self.answers.append(body)


@pytest.fixture
def running():
    return {"events": (3, 3)}


@pytest.fixture
def watches(running):
    return Watches(lambda name: running.get(name, (0, 0)))


def watch(watches, name, incarnation=0):
    call = Asked()
    watches.add(ActorsWatch(name, incarnation), call)
    return call


def test_every_watcher_has_one_notice_with_the_reason(watches):
    calls = [watch(watches, "events", 3) for _ in range(3)]
    watches.ended("events", 2, KILLED)  # a late word of an earlier one
    watches.ended("metadata", 3, KILLED)
    assert [call.answers for call in calls] == [[], [], []]
    for _ in range(2):
        watches.ended("events", 3, KILLED)
    notice = {"name": "events", "incarnation": 3, "reason": {"kind": "killed", "signal": 9}}
    assert [call.answers for call in calls] == [[notice]] * 3


def test_one_that_is_not_there_is_told_at_once(watches):
    for name, incarnation in (("events", 2), ("events", 4), ("nobody", 1)):
        (notice,) = watch(watches, name, incarnation).answers
        assert (notice["name"], notice["incarnation"]) == (name, incarnation)
        assert notice["reason"]["kind"] == "abnormal"


def test_without_a_number_the_one_that_runs_is_named(watches):
    assert watch(watches, "events").answers == [{"name": "events", "incarnation": 3, "reason": {}}]
    assert watch(watches, "nobody").answers == [{"name": "nobody", "incarnation": 0, "reason": {}}]


def test_watches_are_bounded_and_those_who_left_do_not_count(watches):
    calls = [Asked() for _ in range(MOST)]
    body = ActorsWatch("events", 3)
    watches.add(body, calls[0])
    watches._calls["events", 3].extend(calls[1:])  # adding each looks at all
    with pytest.raises(RemoteError, match="watches wait already"):
        watches.add(body, Asked())
    calls[0].open = False
    watches.add(body, Asked())


def test_one_that_only_sleeps_has_not_ended(watches, running):
    early = watch(watches, "events", 3)
    running["events"] = (5, 3)  # it has slept twice
    watches.goes_on("events", 3, 5)
    late, earlier = watch(watches, "events", 4), watch(watches, "events", 2)
    assert (early.answers, late.answers) == ([], [])
    assert earlier.answers[0]["reason"]["kind"] == "abnormal"
    watches.goes_on("events", 3, 5)
    watches.ended("events", 4, KILLED)  # of which nobody has heard for long
    watches.ended("events", 5, KILLED)
    notice = {"name": "events", "incarnation": 5, "reason": {"kind": "killed", "signal": 9}}
    assert [early.answers, late.answers] == [[notice]] * 2
