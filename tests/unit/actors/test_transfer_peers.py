"""Which nodes a transfer asks for a blob, and in which order."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from actors import messages as m
from actors.transfers import peers
from actors.transfers.peers import Peers
from storage.descriptor import Descriptor
from storage.digest import Digest
from transport.errors import RemoteError
from transport.registry.errors import NotFoundError, UnavailableError

BLOB = Descriptor("application/octet-stream", Digest.parse("sha256:" + "a" * 64), 10)
DIGEST = str(BLOB.digest)


class Node:
    """In the place of `Peer`."""

    def __init__(self, node, fields):
        self.name, self.rests = f"node {node}", False
        self.behaviour = fields["behaviour"]

    def ask(self, *_):
        if self.behaviour == "dead":
            raise UnavailableError("nobody answers")
        return {"missing": [DIGEST] if self.behaviour == "lacks" else []}

    def open(self, *_):
        if self.behaviour == "breaks":
            self.rests = True
            raise UnavailableError(f"{self.name} broke off")
        if self.behaviour == "lost":
            raise NotFoundError(f"{self.name} has it no more")
        return self.name

    def close(self):
        """Nothing to close."""


@pytest.fixture
def found(monkeypatch):
    """Makes the nodes of a transfer, each with its behaviour, in an order that is not left to chance."""
    monkeypatch.setattr(peers, "Peer", Node)
    monkeypatch.setattr(peers.random, "sample", lambda names, count: names[:count])
    monkeypatch.setattr(peers.threading, "Thread", Now)

    def make(named="", peers_on=True, sharing="shared", **nodes):
        def call(body):
            if isinstance(body, m.NodesList):
                return {"nodes": [{"name": name, "link": "joined", "state": "up"} for name in nodes]}
            if nodes[body.name] == "struck":
                raise RemoteError("not_found", "no node is named so")
            return {"behaviour": nodes[body.name]}

        transfer = SimpleNamespace(
            call=call,
            check=lambda: None,
            store=SimpleNamespace(has=lambda _: False),
            settings=SimpleNamespace(registry_peers=peers_on, content_sharing=sharing),
            actor=SimpleNamespace(log=SimpleNamespace(info=lambda *_: None)),
        )
        made = Peers(transfer, named)
        made.expect([BLOB])
        return made

    return make


class Now:
    """A thread that has run when it is started."""

    def __init__(self, target, args, **_):
        self.start = lambda: target(*args)


def source(found, avoid=()):
    return found.open(BLOB, 0, 10, avoid)


def test_who_has_it_is_asked_and_who_fails_rests(found):
    made = found(dead="dead", lacks="lacks", struck="struck", breaks="breaks", good="good", other="good")
    assert source(made) == "node good"
    assert source(made, avoid={"node good"}) == "node other"
    assert source(made, avoid={"node good", "node other"}) is None


def test_where_no_node_has_it_the_registry_is_asked(found):
    assert source(found()) is None
    assert source(found(one="lacks", two="breaks", three="lost")) is None


@pytest.mark.parametrize("setting", [{"peers_on": False}, {"sharing": "isolated"}])
def test_settings_keep_to_the_registry(found, setting):
    assert source(found(one="good", **setting)) is None
    assert source(found("one", one="good", **setting)) == "node one"


def test_a_named_node_comes_first_and_no_registry_follows(found):
    assert source(found("two", one="good", two="good")) == "node two"
    assert source(found("two", one="good", two="breaks")) == "node one"
    resting = found("two", two="breaks")
    for _ in range(2):  # it is asked again, since there is nobody else
        with pytest.raises(UnavailableError, match="node two broke off"):
            source(resting)
    with pytest.raises(NotFoundError, match="node two has no blob"):
        source(found("two", one="lacks", two="lacks"))
    with pytest.raises(RemoteError, match="no node"):
        found("two", two="struck")
