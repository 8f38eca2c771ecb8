"""Nodes that have joined this one, by the heartbeats that come from them. Pure.

A node is known by the key that it came in with, which the router vouches for; what it calls itself is its
own claim, and shown beside the key.
"""

from dataclasses import dataclass
from typing import Any, Final

from actors.nodes.detector import Detector
from actors.nodes.vitals import INTERVAL, Vitals
from storage.names import check_identifier
from transport.errors import RemoteError

MOST: Final = 256  # nodes; those that are down make room


@dataclass(slots=True)
class Visitor:
    """One of them."""

    name: str
    key: str
    vitals: Vitals

    def described(self, now: float) -> dict[str, Any]:
        """For the wire."""
        return {"name": self.name, "link": "accepted", "key": self.key, **self.vitals.described(now)}


class Accepted:
    """By key and name."""

    def __init__(self) -> None:
        self.visitors: dict[tuple[str, str], Visitor] = {}

    def visitor(self, key: str, name: str, now: float) -> Visitor:
        """From whom a heartbeat has come. Raises InvalidArgumentError, RemoteError."""
        known = self.visitors.get((key, name))
        if known is None:
            check_identifier("node name", name)
            self._make_room()
            known = Visitor(name, key, Vitals(Detector(now, INTERVAL)))
            self.visitors[key, name] = known
        return known

    def _make_room(self) -> None:
        if len(self.visitors) < MOST:
            return
        gone = next((key for key, one in self.visitors.items() if one.vitals.state == "down"), None)
        if gone is None:
            raise RemoteError("overloaded", f"{MOST} nodes have joined this one already")
        del self.visitors[gone]
