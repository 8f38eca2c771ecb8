"""Requests that the router has passed on and that have not been answered: who waits, for whom, until when.

Found by who asked and the id of the request, by who was asked, and in the order of their deadlines. No clock.
"""

import heapq
from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from transport.envelope import Envelope

FEW_DEADLINES: Final = 1000
Key = tuple[str, bytes]
"""Who asks (an address), and the id of the request."""


@dataclass(slots=True)
class Waiting:
    """One of them.

    Attributes:
        asked: the request, without its body.
        target: the actor that has it.
        inc: the incarnation of that.
        since: when it was passed on.
        due: when it is over its deadline, 0 for never.
    """

    asked: Envelope
    target: str
    inc: int
    since: float
    due: float


class Outstanding:
    """All of them.

    Attributes:
        per_peer: how many each address has.
        per_key: how many have come with each key.
        by_target: which ones each actor has.
    """

    def __init__(self) -> None:
        self.per_peer: dict[str, int] = defaultdict(int)
        self.per_key: dict[str, int] = defaultdict(int)
        self.by_target: dict[str, set[Key]] = defaultdict(set)
        self._waiting: dict[Key, Waiting] = {}
        self._deadlines: list[tuple[float, Key]] = []
        self._of_clients = 0

    def __contains__(self, key: Key) -> bool:
        """Whether somebody waits for this."""
        return key in self._waiting

    def get(self, key: Key) -> Waiting | None:
        """What is known of one."""
        return self._waiting.get(key)

    def of_target(self, name: str) -> list[tuple[Key, Waiting]]:
        """Those that an actor has."""
        return [(key, self._waiting[key]) for key in self.by_target.get(name, ())]

    def of_peer(self, address: str) -> list[Key]:
        """Those that somebody has asked."""
        return [key for key in self._waiting if key[0] == address]

    @property
    def has_clients(self) -> bool:
        """Whether a client waits for anything. Asked at each turn of the router's, so it is counted."""
        return self._of_clients > 0

    def clients(self) -> list[str]:
        """Those who wait."""
        return [peer for peer in self.per_peer if _is_client(peer)]

    def add(self, waiting: Waiting) -> None:
        """It has been passed on."""
        asked = waiting.asked
        key = (asked.fr, asked.id)
        self._waiting[key] = waiting
        self.by_target[waiting.target].add(key)
        self.per_peer[asked.fr] += 1
        if asked.by:
            self.per_key[asked.by] += 1
        self._of_clients += _is_client(asked.fr)
        if waiting.due:
            self._note_deadline(waiting.due, key)

    def forget(self, key: Key) -> Waiting | None:
        """It has ended; None if it had before."""
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return None
        targets = self.by_target[waiting.target]
        targets.discard(key)
        if not targets:
            del self.by_target[waiting.target]
        _count_down(self.per_peer, key[0])
        if waiting.asked.by:
            _count_down(self.per_key, waiting.asked.by)
        self._of_clients -= _is_client(key[0])
        return waiting

    def overdue(self, now: float) -> list[Key]:
        """Those over their deadline, each told once. What was answered is not worth waking up for."""
        found = []
        while (first := self._deadlines[:1]) and (first[0][0] <= now or not self._still_waits(*first[0])):
            due, key = heapq.heappop(self._deadlines)
            if self._still_waits(due, key):
                found.append(key)
        return found

    @property
    def next_due(self) -> float | None:
        """The first deadline, None for none."""
        return self._deadlines[0][0] if self._deadlines else None

    def _note_deadline(self, due: float, key: Key) -> None:
        """Those of requests that have been answered since are dropped when they are most of them."""
        if len(self._deadlines) > 2 * len(self._waiting) + FEW_DEADLINES:
            self._deadlines = [one for one in self._deadlines if self._still_waits(*one)]
            heapq.heapify(self._deadlines)
        heapq.heappush(self._deadlines, (due, key))

    def _still_waits(self, due: float, key: Key) -> bool:
        """Whether this very request does: one that was answered may have left its id to another."""
        waiting = self._waiting.get(key)
        return waiting is not None and waiting.due == due


def _is_client(peer: str) -> bool:
    """Whether nobody can send it a request: it has no name."""
    return peer.startswith("~")


def _count_down(counts: dict[str, int], of: str) -> None:
    """Of what is counted only while there is some."""
    counts[of] -= 1
    if not counts[of]:
        del counts[of]
