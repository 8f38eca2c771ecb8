"""An actor that is linked to another ends with it, also when the supervisor died meanwhile."""

from __future__ import annotations

import pytest
from actor_town import LIMIT, Town

from actors.actor import Actor
from actors.call import LATER
from actors.supervision import ExitReason
from actors.watching import Watches


class Supervisor(Actor):
    """Keeps watches as the real one does; `children.start` makes an end of the kind that it names."""

    kind = "supervisor"

    def started(self):
        self.watches = Watches(lambda _: (1, 1))

    def actors_watch(self, body, call):
        self.watches.add(body, call)
        return LATER

    def children_start(self, body, _):
        self.watches.ended("events", 1, ExitReason(body.kind))
        return {"actor": ""}


class Linked(Actor):
    """To events/1, from its first moment."""

    kind = "metrics"

    def started(self):
        self.told = []
        self.link("events", 1)
        self.watch("events", 1, self.told.append)

    def metrics_address(self, _body, _call):
        return {"url": str(self.told)}


@pytest.fixture
def town(tmp):
    with Town(tmp) as one:
        one.actor(Supervisor)
        one.actor(Linked)
        yield one


def end(town, kind):
    """Once both watches have come; returns what the linked actor has been told, as text."""
    body = {"kind": kind, "name": "x"}
    town.client().request("children.start", body, to="supervisor", limit=LIMIT)


def told(town):
    asking = town.client()
    for _ in range(100):
        found = asking.request("metrics.address", {}, to="metrics", limit=LIMIT)["url"]
        if found != "[]":
            return found
        end(town, "normal")  # its watch may not have come before
    raise AssertionError("never told")


def test_an_end_in_order_is_told_once_and_ends_nobody(town):
    notice = {"name": "events", "incarnation": 1, "reason": {"kind": "normal"}}
    assert told(town) == str([notice])
    end(town, "killed")
    assert told(town) == str([notice])


@pytest.mark.parametrize("restarted", [False, True])
def test_an_end_out_of_order_ends_the_linked(town, restarted):
    if restarted:
        town.killed("supervisor")
        town.actor(Supervisor)
    linked = town.actors["metrics"]
    linked.control.socket.settimeout(0.1)
    for _ in range(200):
        end(town, "killed")
        try:
            linked.said.append(linked.control.receive())
        except TimeoutError:
            continue
        if linked.said[-1]["op"] == "last_words":
            break
    linked.control.socket.settimeout(LIMIT)
    assert linked.wait() == 1
    (words,) = [one["reason"] for one in linked.said if one["op"] == "last_words"]
    assert "events/1, to which this actor is linked, ended" in words
