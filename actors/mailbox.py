"""The bounded mailbox of an actor, in place of Pykka's unbounded queue.

Two lanes: what the actor itself is waiting for (answers, exits of processes, timers, stop) is taken
before requests, so that a flood of requests cannot starve it; only requests are bounded, since each of
the others exists because of something the actor did.

It has no lock. Requests come from the pump's thread alone, all else from any thread or a signal's handler,
and the actor's thread alone takes out: for that the deques are enough. How to wait, it is told.
"""

import queue
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from transport.durations import Durations

LIMIT = 1024
MOST_BYTES = 64 << 20  # together; a first one has room whatever its size


class Mailbox:
    """What Pykka asks of an inbox: put, get, empty.

    Attributes:
        wait: returns when the mailbox, of which it is told whether it is empty, is so no longer.
        wake: ends such a wait.
        held: whether no request is to be taken up for now, since its answer would have no room.
        waits: how long each ordinary message has waited.
        refused: how many there was no room for.
    """

    def __init__(self, ordinary: type, limit: int = LIMIT) -> None:
        """At most `limit` messages of type `ordinary`, which have a size, wait; the others overtake them."""
        self._type = ordinary
        self._limit = limit
        self._urgent: deque[Any] = deque()
        self._ordinary: deque[Any] = deque()
        self._came = self._went = 0  # bytes of ordinary ones; each is counted by one thread
        self.wait: Callable[[Callable[[], bool]], None] = _expect_something
        self.wake: Callable[[], None] = _nothing
        self.held: Callable[[], bool] = _never
        self.waits = Durations()
        self.refused = 0

    def put(self, item: Any) -> None:
        """Add a message. Raises queue.Full for an ordinary one too many."""
        if not isinstance(item.message, self._type):
            self._urgent.append(item)
        elif not self._takes(item):
            self.refused += 1
            raise queue.Full
        self.wake()

    def get(self) -> Any:
        """The next message, waiting for it if need be."""
        self.wait(self._has_nothing_to_do)
        if self._urgent:
            return self._urgent.popleft()
        since, item = self._ordinary.popleft()
        self._went += item.message.size
        self.waits.add(time.monotonic() - since)
        return item

    def _takes(self, item: Any) -> bool:
        size, waiting = item.message.size, self._came - self._went
        if self._ordinary and (len(self._ordinary) >= self._limit or waiting + size > MOST_BYTES):
            return False
        self._came += size
        self._ordinary.append((time.monotonic(), item))
        return True

    def _has_nothing_to_do(self) -> bool:
        return not self._urgent and (not self._ordinary or self.held())

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._urgent and not self._ordinary

    def __len__(self) -> int:
        """How many messages wait."""
        return len(self._urgent) + len(self._ordinary)


def _expect_something(_empty: Callable[[], bool]) -> None:
    """How to wait where nobody else fills it meanwhile."""


def _nothing() -> None:
    """Nobody waits."""


def _never() -> bool:
    """There is room."""
    return False
