"""A connection that is kept: attempts, pauses, and what is said over which. No socket, no clock."""

from hypothesis import given
from hypothesis import strategies as st

from actors.nodes.line import ATTEMPT, LONGEST_PAUSE, PAUSE, Line
from transport.envelope import Envelope
from transport.errors import ProtocolError


class Wire:
    """What was done to it."""

    def __init__(self):
        self.sent, self.closed = [], False

    def send(self, message):
        assert not self.closed
        self.sent.append(message)
        return True

    def close(self):
        self.closed = True


class Place:
    """A line and its wires, at a time of the test's own."""

    def __init__(self, refuse=False):
        self.now, self.wires, self.came, self.changes, self.refuse = 0.0, [], [], 0, refuse
        self.line = Line(self.open, self.came.append, self.changed, lambda: self.now)

    def open(self, _):
        if self.refuse:
            raise ProtocolError("no address")
        self.wires.append(Wire())
        return self.wires[-1]

    def changed(self):
        self.changes += 1

    def tend(self):
        return self.line.tend(self.now)


def test_it_connects_and_then_has_nothing_due():
    place = Place()
    assert place.tend() == ATTEMPT
    assert not place.line.send(Envelope("PING"))
    place.line.opened(place.wires[0])
    assert (place.line.ready, place.changes, place.tend()) == (True, 1, None)
    assert place.line.send(Envelope("PING"))
    assert place.wires[0].sent == [Envelope("PING")]


def test_a_handshake_that_is_never_answered_is_given_up_and_tried_again():
    place = Place()
    place.now = place.tend()
    again = place.tend()
    assert place.wires[0].closed
    assert ATTEMPT < again <= ATTEMPT + PAUSE
    place.now = again
    place.tend()
    assert len(place.wires) == 2
    assert "handshake" in place.line.error


def test_a_broken_connection_is_made_again_and_its_error_goes_with_that():
    place = Place()
    place.tend()
    place.line.opened(place.wires[0])
    place.line.broke(place.wires[0], "cut")
    assert (place.line.ready, place.line.error, place.changes) == (False, "cut", 2)
    assert not place.line.send(Envelope("PING"))
    place.now = place.tend()
    place.tend()
    place.line.opened(place.wires[1])
    assert place.line.error == ""


@given(st.integers(1, 40))
def test_pauses_grow_and_have_an_end(times):
    place = Place(refuse=True)
    pauses = []
    for _ in range(times):
        due = place.tend()
        pauses.append(due - place.now)
        place.now = due
    assert all(0 < pause <= LONGEST_PAUSE for pause in pauses)
    assert pauses[0] <= PAUSE
    assert times < 10 or pauses[-1] >= LONGEST_PAUSE / 2


def test_closed_for_good_it_says_nothing_more():
    place = Place()
    place.tend()
    place.line.opened(place.wires[0])
    place.line.close()
    assert place.wires[0].closed
    assert not place.line.send(Envelope("PING"))
