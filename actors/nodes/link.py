"""The link to a node that this one has joined: heartbeats, and what passes.

Heartbeats have a connection of their own, so that they never queue behind what somebody moves. One that the
other node's actor answers says that all of the way there and back is well: its router, its mailbox, ours.
"""

import os
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from actors.nodes.detector import Detector
from actors.nodes.line import Line, Wire
from actors.nodes.vitals import INTERVAL, Vitals
from transport.codec import pack
from transport.connections import Connection
from transport.envelope import Envelope
from transport.errors import ProtocolError, RemoteError

UNANSWERED: Final = 16  # heartbeats whose answers may still come
BEAT_LIMIT: Final = 10_000  # milliseconds
Open = Callable[[Connection, Line], Wire]


class Owner(Protocol):
    """Who has links. In the pump's thread."""

    own: str

    def heard(self, link: "Link") -> None:
        """The node has answered a heartbeat."""

    def delivered(self, link: "Link", message: Envelope) -> None:
        """A message has come that is no heartbeat's."""

    def moved(self, link: "Link") -> None:
        """A line has come up, or has broken."""


class Link:
    """For the pump's thread.

    Attributes:
        name: what the node is called here.
        to: its connection file's content.
        freight: the line for all but heartbeats.
        vitals: what is thought of it.
    """

    def __init__(self, name: str, to: Connection, open_: Open, owner: Owner) -> None:
        """`open_` begins a connection; `tend` has it done."""
        self.name, self.to, self._owner = name, to, owner
        self.vitals = Vitals(Detector(time.monotonic(), INTERVAL))
        self.freight = self._line(open_, self._delivered)
        self._pulse = self._line(open_, self._answered)
        self._round_trip = 0.0
        self._beats: dict[bytes, float] = {}
        self._beat_at = 0.0
        self._error = ""

    def _line(self, open_: Open, came: Callable[[Envelope], None]) -> Line:
        return Line(lambda line: open_(self.to, line), came, lambda: self._owner.moved(self))

    def tend(self, now: float) -> float:
        """Do what is due; gives the time when something will be."""
        if self._pulse.ready and now >= self._beat_at:
            self._beat(now)
        due = [self._pulse.tend(now), self.freight.tend(now), self.vitals.due()]
        due += [self._beat_at] if self._pulse.ready else []
        return min(at for at in due if at is not None)  # a line that is not ready has something due

    def renew(self, why: str) -> None:
        """Whatever the connections say, the node is not there: begin again."""
        self._beats.clear()
        self._pulse.renew(why)
        self.freight.renew(why)

    def close(self) -> None:
        """End both lines for good."""
        self._pulse.close()
        self.freight.close()

    @property
    def error(self) -> str:
        """What is wrong; empty when nothing is."""
        return "" if self.vitals.state == "up" else self._error or self._pulse.error or "no heartbeat comes"

    def described(self, now: float) -> dict[str, Any]:
        """For the wire."""
        fields = {"name": self.name, "link": "joined", "endpoint": self.to.endpoint, "role": self.to.role}
        return {**fields, **self.vitals.described(now), "round_trip": self._round_trip, "error": self.error}

    def _beat(self, now: float) -> None:
        beat = Envelope(
            "REQ",
            id=os.urandom(16),
            to="nodes",
            op="nodes.beat",
            deadline=BEAT_LIMIT,
            body=pack({"node": self._owner.own}),
        )
        self._beat_at = now + INTERVAL
        if self._pulse.send(beat):
            self._beats[beat.id] = now
            if len(self._beats) > UNANSWERED:
                del self._beats[next(iter(self._beats))]

    def _answered(self, message: Envelope) -> None:
        sent = self._beats.pop(message.re, None)
        if message.type == "ERR":
            self._error = _text(message)
        elif sent is not None and message.type == "FIN":
            self._round_trip, self._error = time.monotonic() - sent, ""
            self._owner.heard(self)

    def _delivered(self, message: Envelope) -> None:
        self._owner.delivered(self, message)


def _text(message: Envelope) -> str:
    """Of an error, which may be anything that a peer sends."""
    try:
        return str(RemoteError.from_body(message.value()))[:200]
    except ProtocolError:
        return "an error that nobody understands"
