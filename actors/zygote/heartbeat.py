"""Who is to be asked whether it still works, and who has not answered in time. No clock, no socket.

A hang (stopped, endless loop, interpreter lock held, deadlock) is a crash that has not happened yet. Each
child is asked from time to time over its control channel, and its mailbox thread answers; at most one
question to each is open. Before a child is ready it cannot answer, and has `START_LIMIT` instead.
"""

import heapq
from dataclasses import dataclass

START_LIMIT = 30.0  # seconds from the fork (or adoption) until a child can be asked
AT_ONCE = (
    100  # of the many (containers): so many are asked in one round, so that a thousand cost next to nothing
)


@dataclass(slots=True)
class _Heart:
    """One child. Times in seconds of a monotonic clock, 0 for never.

    Attributes:
        many: one of a kind of which there may be a thousand.
        asked_at: when it was last asked.
        waiting: whether that has not been answered.
        busy_until: until when it has announced not to answer.
    """

    many: bool
    born: float
    listens: bool = False
    asked_at: float = 0.0
    waiting: bool = False
    busy_until: float = 0.0


class Heartbeats:
    """What is known of every child, by pid."""

    def __init__(self, limit: float) -> None:
        """A child hangs when it has not answered for `limit` seconds. Rounds are due each `interval`."""
        self.limit = limit
        self.interval = limit / 4
        self._hearts: dict[int, _Heart] = {}
        self._round_at = 0.0

    def born(self, pid: int, now: float, *, many: bool) -> None:
        """A child has been forked or adopted."""
        self._hearts[pid] = _Heart(many, now)

    def gone(self, pid: int) -> None:
        """It has ended."""
        self._hearts.pop(pid, None)

    def listens(self, pid: int) -> None:
        """From now on it can be asked."""
        if heart := self._hearts.get(pid):
            heart.listens = True
            heart.waiting = False

    def answered(self, pid: int) -> None:
        """It works."""
        if heart := self._hearts.get(pid):
            heart.waiting = False

    def busy(self, pid: int, until: float) -> None:
        """It will not answer before `until`, and says so itself."""
        if heart := self._hearts.get(pid):
            heart.busy_until = until

    def round(self, now: float) -> tuple[list[int], list[int]]:
        """Whom to ask now, and who hangs. Each of the former counts as asked.

        One who hangs is named again in every round until it has ended: whoever was told may have died.
        """
        late = now - self._round_at
        if self._round_at and late > 2 * self.interval:  # it was us who were stopped
            self._forgive(late)
        self._round_at = now
        hanging = [pid for pid, heart in self._hearts.items() if self._hangs(heart, now)]
        asked = self._due(now)
        for pid in asked:
            heart = self._hearts[pid]
            heart.asked_at, heart.waiting = now, True
        return asked, hanging

    def _forgive(self, seconds: float) -> None:
        for heart in self._hearts.values():
            heart.born += seconds
            heart.asked_at += seconds

    def _hangs(self, heart: _Heart, now: float) -> bool:
        if not heart.listens:
            return now - max(heart.born, heart.busy_until) > START_LIMIT
        return heart.waiting and now - max(heart.asked_at, heart.busy_until) > self.limit

    def _due(self, now: float) -> list[int]:
        free = [
            (heart.asked_at, pid, heart.many)
            for pid, heart in self._hearts.items()
            if heart.listens and not heart.waiting and now - heart.asked_at >= 2 * self.interval
        ]
        few = [pid for _, pid, many in free if not many]
        return few + [pid for _, pid, _ in heapq.nsmallest(AT_ONCE, (one for one in free if one[2]))]
