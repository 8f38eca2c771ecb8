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

MOST: Final = 256  # nodes
MOST_NAMES: Final = 4  # of one key: a name is only a claim. Those that are down make room


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

    def restore(self, key: str, name: str, vitals: Vitals) -> None:
        """One that was known before a crash: it will be heard, or be down."""
        self.visitors[key, name] = Visitor(name, key, vitals)

    def visitor(self, key: str, name: str, now: float) -> Visitor:
        """From whom a heartbeat has come. Raises InvalidArgumentError, RemoteError."""
        known = self.visitors.get((key, name))
        if known is None:
            check_identifier("node name", name)
            self._make_room(key)
            known = Visitor(name, key, Vitals(Detector(now, INTERVAL)))
            self.visitors[key, name] = known
        return known

    def _make_room(self, key: str) -> None:
        names = [one for one in self.visitors.values() if one.key == key]
        if len(names) < MOST_NAMES and len(self.visitors) < MOST:
            return
        rivals = names if len(names) >= MOST_NAMES else self.visitors.values()
        gone = next((one for one in rivals if one.vitals.state == "down"), None)
        if gone is None:
            raise RemoteError(
                "overloaded", f"as many nodes as there may be have come with key {key}, or at all"
            )
        del self.visitors[gone.key, gone.name]
