"""Requests that were passed on to other nodes, until each is answered or has failed. Pure.

A request goes out under an id of its own: those of two clients here may be the same. What comes back goes to
whom it was for; what nobody waits for is dropped. Who asked is told once, whatever becomes of the link.
"""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from transport.codec import pack
from transport.envelope import EMPTY, Envelope
from transport.errors import ProtocolError, RemoteError

MOST: Final = 4096  # requests under way to one node, as one peer may have (docs/protocol.md)
WATCH: Final = "actors.watch"
LATE: Final = 5.0  # seconds after its deadline, or after it was cancelled, until a request is forgotten
ANSWERS = frozenset({"FIN", "ERR", "PART", "EVT"})


@dataclass(slots=True)
class _Passed:
    asked: Envelope
    node: str
    until: float | None


class Relay:
    """Who waits for what from which node."""

    def __init__(self) -> None:
        self._passed: dict[bytes, _Passed] = {}
        self._ids: dict[tuple[str, bytes], bytes] = {}
        self._per_node: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._passed)

    def pass_on(self, message: Envelope, node: str, name: str, now: float) -> Envelope:
        """What to send to that node's actor `name`. Raises RemoteError."""
        if self._per_node[node] >= MOST:
            raise RemoteError(
                "overloaded", f"more than {MOST} requests wait for node {node}", actor=message.to
            )
        until = now + message.deadline / 1000 + LATE if message.deadline else None
        fresh = os.urandom(16)
        body = message.body if message.op == WATCH else EMPTY
        self._passed[fresh] = _Passed(replace(message, body=body, buffers=()), node, until)
        self._ids[message.fr, message.id] = fresh
        self._per_node[node] += 1
        return replace(message, id=fresh, to=name, fr="", by="")

    def concerning(self, message: Envelope, now: float) -> tuple[str, Envelope] | None:
        """A CANCEL or CREDIT of one who asked, and to which node it goes; None for what is over."""
        fresh = self._ids.get((message.fr, message.re))
        if fresh is None:
            return None
        passed = self._passed[fresh]
        if message.type == "CANCEL":
            passed.until = min(passed.until or now + LATE, now + LATE)
        return passed.node, replace(message, re=fresh, fr="", to="")

    def came(self, node: str, message: Envelope) -> Envelope | None:
        """What to give to the one who asked; None for nothing."""
        passed = self._passed.get(message.re)
        if passed is None or passed.node != node or message.type not in ANSWERS:
            return None
        if message.type in ("FIN", "ERR"):
            self._forget(message.re)
        if message.type == "ERR" and not message.fr:
            message = _located(message, node)
        return replace(message, re=passed.asked.id, to=passed.asked.fr, fr="", by="")

    def refused(self, fresh: bytes) -> None:
        """It was not sent after all."""
        self._forget(fresh)

    def fail(self, node: str, answer: Callable[[Envelope], Envelope]) -> list[Envelope]:
        """All that wait for this node get that answer."""
        lost = [fresh for fresh, one in self._passed.items() if one.node == node]
        return [answer(self._forget(fresh)) for fresh in lost]

    def abandon(self) -> list[tuple[str, Envelope]]:
        """Nobody waits any more: to which nodes to say so."""
        cancels = [(one.node, Envelope("CANCEL", re=fresh)) for fresh, one in self._passed.items()]
        self._passed.clear()
        self._ids.clear()
        self._per_node.clear()
        return cancels

    def expire(self, now: float) -> None:
        """Forget what the other side should have answered; the router here has, long ago."""
        for fresh in [fresh for fresh, one in self._passed.items() if one.until and one.until < now]:
            self._forget(fresh)

    def _forget(self, fresh: bytes) -> Envelope:
        passed = self._passed.pop(fresh)
        self._ids.pop((passed.asked.fr, passed.asked.id), None)
        self._per_node[passed.node] -= 1
        return passed.asked


def _located(message: Envelope, node: str) -> Envelope:
    """An error of the other node's router, not of an actor: it says which node's."""
    try:
        error = RemoteError.from_body(message.value())
    except ProtocolError:
        error = RemoteError("internal", f"node {node} answers what nobody understands", outcome="unknown")
    error.details = {**error.details, "node": node}
    return replace(message, body=pack(error.to_body()))
