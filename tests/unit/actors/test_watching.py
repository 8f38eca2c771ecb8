"""Death watch and links: one notice for each watch, whoever asks and whenever."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from actors.messages import ActorsWatch
from actors.supervision import ExitReason
from actors.watching import MOST, FarWatches, Watches
from transport.envelope import request
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
    for call in calls:
        watches.add(body, call)
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


# Of actors of other nodes


class Asker:
    """An actor that is asked to follow, and hands out what it was given."""

    def __init__(self):
        self.asked = []

    def following(self, body, _heard, *, to, limit):
        assert limit > 0
        self.asked.append((body, to, Future()))
        return self.asked[-1][2]

    def soon(self, function):
        function()


class Far(Asked):
    def __init__(self, deadline=0):
        super().__init__()
        self.envelope = request("supervisor", "actors.watch", {}, deadline=deadline).forwarded("~01")

    def settle(self, result):
        self.reply(result)


@pytest.mark.parametrize("name", ["events", "container/default/x", "job/default/1", "puller/default/1"])
def test_an_actor_of_this_host_is_not_asked_for_elsewhere(name):
    asker = Asker()
    assert not FarWatches(asker).add(ActorsWatch(name, 1), Far())
    assert asker.asked == []


def test_another_nodes_supervisor_is_asked_and_its_notice_named_as_it_was_asked_for():
    asker, call = Asker(), Far()
    assert FarWatches(asker).add(ActorsWatch("h2/container/default/x", 4), call)
    [(body, to, future)] = asker.asked
    assert (body, to) == (ActorsWatch("container/default/x", 4), "h2/supervisor")
    future.set_result({"name": "container/default/x", "incarnation": 4, "reason": {"kind": "killed"}})
    assert call.answers == [
        {"name": "h2/container/default/x", "incarnation": 4, "reason": {"kind": "killed"}}
    ]


def test_an_error_of_the_way_is_the_answer():
    asker, call = Asker(), Far()
    FarWatches(asker).add(ActorsWatch("h9/events", 1), call)
    error = RemoteError("not_found", "no node is named h9")
    asker.asked[0][2].set_result(error)
    assert call.answers == [error]


def test_who_no_longer_wants_to_know_has_the_other_side_told():
    asker, call = Asker(), Far()
    watches = FarWatches(asker)
    watches.add(ActorsWatch("h2/events", 1), call)
    call.open = False
    watches.end(call)
    assert asker.asked[0][2].cancelled()
    watches.end(call)
