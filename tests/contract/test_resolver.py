"""What the resolver knows, and what the network actor has it know: asked and told until that has arrived."""

from __future__ import annotations

import time

import pytest
from actor_town import LIMIT, Town

from actors.actor import Actor
from actors.network import NetworkActor
from actors.resolver import ResolverActor
from transport.errors import RemoteError

pytestmark = pytest.mark.root


class RefusesOnce(Actor):
    """In the place of the other: the first request is refused, for no reason that passes by itself.

    `asked` is how often it has been asked, without the test's own questions.
    """

    def started(self):
        self.asked = 0

    def stopping(self):
        self.finish()

    def _answer(self, call):
        if call.envelope.fr.startswith(("network", "resolver")):
            self.asked += 1
            if self.asked == 1:
                raise RemoteError("internal", "no")
        return {"zones": [], "asked": self.asked}


class Network(RefusesOnce):
    kind = "network"

    def network_names(self, _body, call):
        return self._answer(call)


class Resolver(RefusesOnce):
    kind = "resolver"

    def resolver_refresh(self, _body, call):
        return self._answer(call)


class HasNews(NetworkActor):
    """A change without a bridge, which the machine would have once."""

    def network_rename(self, body, _):
        del body
        self._telling.changed()


def asked(client, op, to):
    until = time.monotonic() + LIMIT
    while (found := client.request(op, {}, to=to)["asked"]) < 2:
        assert time.monotonic() < until, f"{op} was not asked for again"
        time.sleep(0.05)
    return found


@pytest.fixture
def town(tmp):
    with Town(tmp) as found:
        yield found


def test_names_that_were_refused_are_asked_for_again(town):
    town.actor(Network)
    town.actor(ResolverActor)
    assert asked(town.client(), "network.names", "network") == 2


def test_a_change_that_the_resolver_did_not_take_is_told_again(town):
    town.actor(Resolver)
    town.actor(HasNews)
    client = town.client()
    client.request("network.rename", {"namespace": "default", "id": "a", "name": "b"}, to="network")
    assert asked(client, "resolver.refresh", "resolver") == 2
