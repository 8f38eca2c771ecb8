"""Nothing that a client can say ends a service actor: each field of each operation with odd values."""

from __future__ import annotations

import os
import types
import typing

import pytest
from actor_town import Town

from actors import messages as m
from actors.actor import Actor
from actors.content import ContentActor
from actors.events import EventsActor
from actors.linux import netns
from actors.metadata import MetadataActor
from actors.network import NetworkActor
from actors.snapshots import SnapshotsActor
from transport.errors import RemoteError

pytestmark = pytest.mark.root  # network namespaces

SERVICES = (MetadataActor, ContentActor, SnapshotsActor, EventsActor, NetworkActor)
DIGEST = "sha256:" + "a" * 64
TARGET = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": DIGEST, "size": 7}
PLAIN = {"topic": "/t", "target": TARGET, "digest": DIGEST, "wanted": "stopped", "size": 10}
LAST = ("delete", "remove", "forget")  # what these take away, others need


class Supervisor(Actor):
    """In the place of the real one: every child runs already, and whoever is not there will not come.

    A router that has not been told so has those who ask for anybody else wait for half a minute.
    """

    kind = "supervisor"

    def started(self):
        self.tell("router", "router.expect", {"names": [], "all": True})

    def children_start(self, body, _):
        return {"actor": body.name}


class Collector(Actor):
    """In the place of the real one: there is nothing to collect, so that what waits for it goes on."""

    kind = "collector"

    def gc_run(self, _body, _):
        return {}

    def collector_note(self, _body, _):
        return None


ODD = {
    str: ["", "x", "a\0b", "../../etc", "é" * 300, "x" * 70_000, "\n", "-", "a/b", DIGEST, "x@y:z"],
    int: [0, 1, 2**63 - 1, 2**63, 2**64 - 1, -1],
    dict: [
        {},
        {"": ""},
        {"k": "v" * 9000},
        {"k": b"\xff"},
        {"k": 2**64 - 1},
        {"k": float("nan")},
        {"k": [[[{}]]]},
    ],
    bool: [True],
}


BESIDE = (Supervisor, Collector, MetadataActor)


def values(kind):
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [None, *values(typing.get_args(kind)[0])]
    origin = typing.get_origin(kind) or kind
    if origin is typing.Literal:
        return [typing.get_args(kind)[0], "x"]
    return ODD[next((one for one in (bool, int, dict) if one is origin), str)]


def odd_bodies(body):
    """Each field with each odd value, the others with what is hardly odd."""
    hints = typing.get_type_hints(body)
    plain = {name: values(kind)[1 if kind is str else 0] for name, kind in hints.items()}
    plain |= {name: value for name, value in PLAIN.items() if name in hints}
    for name, kind in hints.items():
        for value in values(kind):
            yield {**plain, name: value, "follow": False}


def outcome(asker, name, body, to):
    try:
        list(asker.stream(name, body, to=to, credit=3, patience=0.0))
    except RemoteError as error:
        return error.code
    return "ok"


@pytest.mark.parametrize("service", SERVICES, ids=lambda one: one.kind)
def test_nothing_that_a_client_says_ends_an_actor(service, tmp):
    with Town(tmp) as town:
        for one in dict.fromkeys((*BESIDE, service)):
            town.actor(one)
        asker, pid = town.client(), town.actors[service.kind].pid
        owned = m.owned_by(service.kind).items()
        for name, operation in sorted(owned, key=lambda one: one[0].endswith(LAST)):
            for body in odd_bodies(operation.body):
                code = outcome(asker, name, body, service.kind)
                assert code not in ("internal", "unavailable"), f"{name} {str(body)[:300]}"
        assert os.waitpid(pid, os.WNOHANG) == (0, 0), "it has ended"
        if service is NetworkActor:
            for one in (town.settings.state / "netns").iterdir():
                netns.remove(one)
