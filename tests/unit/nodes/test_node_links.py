"""Links and what passes over them, with wires and a pump that do as a test says, at the real time."""

import pytest

from actors.nodes.links import Links
from actors.nodes.vitals import DOWN
from transport.codec import pack
from transport.connections import Connection
from transport.envelope import Envelope, answer, failure, part, request
from transport.errors import RemoteError

THERE = Connection("tcp://10.0.0.2:7400", "s", "p", "x", role="admin")


class Wire:
    """What was sent, and what comes back."""

    def __init__(self, line):
        self.line, self.sent, self.closed, self.full = line, [], False, False

    def send(self, message):
        if not self.full:
            self.sent.append(message)
        return not self.full

    def close(self):
        self.closed = True


class Pump:
    """What was said to the router here; timers are never due."""

    def __init__(self):
        self.said = []

    def send(self, message):
        self.said.append(message)

    def call_later(self, seconds, function):
        assert seconds >= 0
        assert callable(function)


class Town:
    """One link, to h2."""

    def __init__(self):
        self.pump, self.wires, self.told = Pump(), [], []
        self.links = Links(
            self.pump, "h1", self.open, lambda node: self.told.append((node["name"], node["state"]))
        )
        self.links.join("h2", THERE)
        self.pulse, self.freight = self.wires

    def open(self, to, line):
        assert to is THERE
        self.wires.append(Wire(line))
        return self.wires[-1]

    def connect(self):
        for wire in (self.pulse, self.freight):
            wire.line.opened(wire)
        self.pulse.line.came(self.pulse, answer(self.pulse.sent[0].forwarded("~~1"), {"node": "h2"}))
        return self

    def ask(self, op="images.get", body=None, **fields):
        """Of a client; what the other node sees of it."""
        wish = request("h2/metadata", op, body or {}, **fields).forwarded("~01")
        assert self.links.take(wish)
        return wish, (self.freight.sent[-1].forwarded("~~1") if self.freight.sent else None)

    def go_down(self):
        """As if nothing had been heard for long."""
        vitals = self.links._links["h2"].vitals
        vitals.detector.forgive(-(vitals.detector.due(DOWN) - vitals.detector._last) - 60)
        self.links._tend()


@pytest.fixture
def town():
    return Town().connect()


def error(town):
    [said] = town.pump.said
    town.pump.said.clear()
    assert said.type == "ERR"
    return said, RemoteError.from_body(said.value())


def test_a_heartbeat_that_is_answered_makes_it_up(town):
    assert town.told == [("h2", "up")]
    [one] = town.links.described()
    assert (one["name"], one["link"], one["state"], one["error"]) == ("h2", "joined", "up", "")
    assert town.pulse.sent[0].op == "nodes.beat"
    assert not town.freight.sent


def test_requests_and_answers_pass(town):
    wish, onward = town.ask(credit=5)
    assert (onward.to, onward.credit) == ("metadata", 5)
    assert town.links.take(Envelope("CREDIT", re=wish.id, fr="~01", credit=3))
    assert (town.freight.sent[-1].type, town.freight.sent[-1].re) == ("CREDIT", onward.id)
    town.freight.line.came(town.freight, part(onward, {}, b"x"))
    town.freight.line.came(town.freight, answer(onward, {"a": 1}))
    assert [(said.type, said.re, said.to) for said in town.pump.said] == [
        ("PART", wish.id, "~01"),
        ("FIN", wish.id, "~01"),
    ]
    assert not town.links.take(Envelope("CANCEL", re=wish.id, fr="~01"))


def test_a_node_that_nobody_knows_and_one_that_is_not_connected_yet():
    town = Town()
    town.links.take(request("h9/metadata", "images.get", {}).forwarded("~01"))
    assert error(town)[1].code == "not_found"
    town.ask()
    _, refused = error(town)
    assert (refused.code, refused.outcome) == ("unavailable", "not_started")
    assert refused.details == {"node": "h2", "state": "new"}


def test_a_connection_that_breaks_answers_what_is_under_way_with_unknown(town):
    wish, _ = town.ask()
    town.freight.line.broke(town.freight, "cut")
    said, refused = error(town)
    assert (said.re, refused.code, refused.outcome, refused.details["state"]) == (
        wish.id,
        "unavailable",
        "unknown",
        "up",
    )
    assert "node h2" in str(refused)


def test_a_node_that_goes_down_ends_all_and_watches_hear_that_there_is_no_connection(town):
    wish, _ = town.ask()
    watch, _ = town.ask("actors.watch", {"name": "content", "incarnation": 3})
    town.go_down()
    assert town.told[-1] == ("h2", "down")
    assert (town.pulse.closed, town.freight.closed) == (True, True)
    failed, notice = town.pump.said
    assert (failed.re, failed.type, notice.re, notice.type) == (wish.id, "ERR", watch.id, "FIN")
    found = notice.value()
    assert (found["name"], found["incarnation"], found["reason"]["kind"]) == ("content", 3, "noconnection")
    town.pump.said.clear()
    town.ask("actors.watch", {"name": "content", "incarnation": 3})
    assert town.pump.said.pop().value()["reason"]["kind"] == "noconnection"
    town.ask()
    assert error(town)[1].details["state"] == "down"


def test_a_queue_that_is_full_refuses_a_request_and_ends_a_stream(town):
    wish, _ = town.ask(credit=5)
    town.freight.full = True
    town.links.take(request("h2/metadata", "images.get", {}).forwarded("~02"))
    said, refused = error(town)
    assert (said.to, refused.code, refused.outcome) == ("~02", "overloaded", "not_started")
    town.links.take(Envelope("CREDIT", re=wish.id, fr="~01", credit=3))
    assert error(town)[0].re == wish.id
    assert town.freight.closed


def test_word_that_something_was_refused_but_not_what_ends_all(town):
    wish, _ = town.ask()
    town.freight.line.came(town.freight, failure(Envelope("REQ"), RemoteError("overloaded", "slow down")))
    assert error(town)[0].re == wish.id


def test_an_error_of_the_other_router_says_whose_and_an_actors_is_its_own(town):
    _, onward = town.ask()
    town.freight.line.came(town.freight, failure(onward, RemoteError("unavailable", "actor metadata ended")))
    assert error(town)[1].details == {"node": "h2"}
    _, onward = town.ask()
    town.freight.line.came(
        town.freight, failure(onward, RemoteError("not_found", "no")).forwarded("metadata/1")
    )
    assert error(town)[1].details == {}


def test_nonsense_from_a_peer_is_passed_over(town):
    _, onward = town.ask()
    for message in (
        Envelope("REQ", id=b"x"),
        Envelope("PONG"),
        Envelope("FIN", re=b"?"),
        Envelope("ERR", re=b"?"),
    ):
        town.freight.line.came(town.freight, message)
    assert town.pump.said == []
    town.freight.line.came(town.freight, Envelope("ERR", re=onward.id, body=pack([1])))
    assert error(town)[1].code == "internal"


def test_one_that_has_joined_us_is_told_of_unless_we_have_joined_it(town):
    town.links.beaten("key", "h3")
    town.links.beaten("key", "h2")
    assert town.told == [("h2", "up"), ("h3", "up")]
    assert [(one["name"], one["link"]) for one in town.links.described()] == [
        ("h2", "joined"),
        ("h3", "accepted"),
    ]


def test_a_node_that_is_left_is_gone_at_once_and_so_is_what_waits_for_it(town):
    wish, _ = town.ask()
    town.links.leave("h2")
    assert error(town)[0].re == wish.id
    assert town.links.described() == []
    assert town.freight.closed


def test_when_the_router_here_went_away_the_other_side_hears_that_nobody_waits(town):
    _, onward = town.ask()
    town.links.abandon()
    assert (town.freight.sent[-1].type, town.freight.sent[-1].re) == ("CANCEL", onward.id)
    town.freight.line.came(town.freight, answer(onward, {}))
    assert town.pump.said == []
