"""Many who follow events, gathered or one by one, filtered, slow: nothing is lost, nothing comes twice."""

from __future__ import annotations

import os
import threading
import time

import pytest
from actor_town import LIMIT, Town

from actors.events import MOST_CREDIT, MOST_FURTHER, EventsActor
from transport.client import events_of
from transport.envelope import parse, request
from transport.errors import RemoteError
from transport.outbox import MAX_WAITING_BYTES
from transport.zmtp import Dealer

EVENTS = 2000
TOPICS = ("/a", "/b", "/c")


@pytest.fixture
def town(tmp):
    with Town(tmp) as found:
        found.actor(EventsActor)
        yield found


def publish(client, first, last, **more):
    head, *further = [
        {
            "topic": TOPICS[number % 3],
            "key": f"k{number}",
            "body": {"id": f"c{number % 2}"},
            "at": number,
            **more,
        }
        for number in range(first, last + 1)
    ]
    body = {"namespace": "default", **head, "further": further}
    return client.request("events.publish", body, to="events", repeatable=True)


class Follower(threading.Thread):
    """Takes what comes until it has number `last`, then leaves."""

    def __init__(self, town, last, *, credit=1000, pause=0.0, **wish):
        super().__init__(daemon=True)
        self.client, self.last, self.pause = town.client(), last, pause
        self.numbers, self.messages = [], 0
        wish = {"follow": True, **wish}
        self.stream = self.client.stream("events.subscribe", wish, to="events", credit=credit)
        self.start()

    def run(self):
        for message in self.stream:
            self.messages += 1
            for number, body in events_of(message):
                assert body["seq"] == number
                self.numbers.append(number)
            if self.numbers[-1] >= self.last:
                self.stream.close()
                return
            time.sleep(self.pause)

    def heard(self):
        self.join(60)
        return self.numbers


@pytest.mark.parametrize("how", [{}, {"topic": "/b"}, {"gather": 1}])
def test_one_who_is_too_slow_is_told_what_was_trimmed_before_it_could_have_it(tmp, how):
    """Each number is heard, or not wanted, or one of a gap."""
    with Town(tmp, events_keep=100) as town:
        town.actor(EventsActor)
        client = town.client()
        publish(client, 1, 3)
        stream = town.client().stream("events.subscribe", {"follow": True, **how}, to="events", credit=1)
        found = [next(stream)]
        for first in range(4, 3000, 500):
            publish(client, first, first + 499)
        reached = missed = 0
        while reached < EVENTS + 990:
            for number, body in events_of(found.pop() if found else next(stream)):
                gap = body.get("gap", 0)
                silent = range(reached + 1, number - gap + 1 if gap else number)
                assert "topic" in how or not silent
                assert all(TOPICS[one % 3] != how["topic"] for one in silent)
                reached, missed = number, missed + gap
        stream.close()
    assert missed > EVENTS


def test_the_journal_is_trimmed_though_no_incarnation_lives_to_see_many_events(tmp):
    with Town(tmp, events_keep=100) as town:
        town.actor(EventsActor)
        publish(town.client(), 1, 600)
        town.killed("events")
        town.actor(EventsActor)
        publish(town.client(), 601, 1200)
        stream = town.client().stream("events.subscribe", {"after": 1}, to="events", credit=1000)
        assert next(stream).body == {"gap": 1099}
        stream.close()


def test_nobody_waits_in_silence_for_a_number_that_is_far_away(town):
    """It has that from another journal, say: told what the last one is, it can begin after that."""
    publish(town.client(), 1, 3)
    wish = {"after": 999999, "follow": True}
    with pytest.raises(RemoteError, match="no event 999999 yet, the last one is 3") as caught:
        next(town.client().stream("events.subscribe", wish, to="events", credit=1, patience=0.0, silence=5.0))
    assert (caught.value.code, caught.value.details["last"]) == ("failed_precondition", 3)
    (final,) = town.client().stream("events.subscribe", {"after": 999999}, to="events", credit=1)
    assert final.body == {"instance": caught.value.details["instance"], "last": 3}
    follower = Follower(town, 4, after=3)
    publish(town.client(), 4, 4)
    assert follower.heard() == [4]


def test_followers_of_all_kinds_hear_each_event_once(town):
    wishes = [{}, {"topic": "/a"}, {"container_id": "c1"}, {"namespace": "other"}]
    kinds = [
        {**wish, **how}
        for wish in wishes[:3]
        for how in ({}, {"gather": 20}, {"gather": 20, "credit": 30}, {"gather": 1, "pause": 0.001})
    ]
    followers = [Follower(town, EVENTS - 5, **kind) for kind in kinds]
    client = town.client()
    for first in range(1, EVENTS, 50):
        assert publish(client, first, first + 49) == {"seq": first, "new": True}
    for kind, follower in zip(kinds, followers, strict=True):
        heard = follower.heard()
        step = 3 if "topic" in kind else 2 if "container_id" in kind else 1
        first = {3: 3, 2: 1, 1: 1}[step]
        assert heard == list(range(first, heard[-1] + 1, step)), kind
        assert heard[-1] >= EVENTS - 5, kind
        if kind.get("gather") == 20 and "credit" not in kind:
            assert follower.messages < len(heard) / 5, kind


def test_one_alone_comes_at_once_and_the_next_one_is_gathered(town):
    follower = Follower(town, 3, gather=400)
    client = town.client()
    publish(client, 1, 1)
    while not follower.numbers:
        time.sleep(0.01)
    publish(client, 2, 2)
    publish(client, 3, 3)
    assert follower.heard() == [1, 2, 3]
    assert follower.messages <= 3


def test_many_at_once_happen_once_and_in_order(town):
    client = town.client()
    assert publish(client, 1, 10) == {"seq": 1, "new": True}
    assert publish(client, 6, 15) == {"seq": 6, "new": False}
    with pytest.raises(RemoteError, match="at most 1000") as caught:
        publish(client, 1, MOST_FURTHER + 2)
    assert caught.value.code == "invalid_argument"
    with pytest.raises(RemoteError, match="topic"):
        publish(client, 16, 17, topic="")
    assert publish(client, 16, 16)["seq"] == 16


def test_the_end_of_what_is_there_comes_after_it(town):
    client = town.client()
    publish(client, 1, 1000)
    found = list(client.stream("events.subscribe", {"gather": 20}, to="events", credit=1001))
    assert [number for one in found[:-1] for number, _ in events_of(one)] == list(range(1, 1001))
    assert (len(found), found[-1].body["last"]) == (3, 1000)
    with pytest.raises(RemoteError, match="more events than credit"):
        list(client.stream("events.subscribe", {"gather": 20}, to="events", credit=900, patience=0.0))


@pytest.mark.parametrize(("gather", "credit"), [(10_001, 100), (20, MOST_CREDIT + 1)])
def test_what_is_under_way_is_bounded(town, gather, credit):
    wish = {"follow": True, "gather": gather}
    with pytest.raises(RemoteError, match="gather is at most") as caught:
        next(town.client().stream("events.subscribe", wish, to="events", credit=credit, patience=0.0))
    assert caught.value.code == "invalid_argument"


def test_more_than_the_way_to_the_router_holds_waits_for_room(town):
    """Four hundred megabytes of it: the actor would have ended of that."""
    client = town.client()
    for first in range(1, 101, 10):
        publish(client, first, first + 9, body={"text": "x" * 200_000})
    followers = [Follower(town, 100) for _ in range(20)]
    assert all(one.heard() == list(range(1, 101)) for one in followers)
    assert town.incarnations["events"] == 1


def test_who_is_asked_for_more_than_there_is_room_for_lives_on(town):
    """Twice what may wait for the router, in one breath."""
    client, actor = town.client(), town.actors["events"].pid
    for number in range(4):
        publish(client, number, number, body={"id": "x" * 1_000_000})
    times = 2 * MAX_WAITING_BYTES // 4_000_000
    asked = {one.id: one for one in (request("events", "events.recent", {"number": 4}) for _ in range(times))}
    flood = Dealer(os.fspath(town.settings.router_socket), LIMIT)
    for one in asked.values():
        flood.send(one.to_frames())
    while asked:
        found = parse(flood.receive(LIMIT))
        assert os.waitid(os.P_PID, actor, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        if found.type != "PONG":
            assert found.type == "FIN"
            del asked[found.re]
    flood.close()
