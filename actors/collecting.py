"""When to collect: pure. Fed with what has happened and the time, it says when the next run is due.

As containerd does it: a run is worth while after a deletion, or after many changes; collecting takes no more
than a small part of the time; and when nothing has happened, nothing is scheduled.
"""

from dataclasses import dataclass, field
from typing import Final

RUNS: Final = 10  # whose middle length says how long a run takes
DELAY: Final = 0.05  # seconds from a deletion to a run, so that several share it
RETRY: Final = 5.0  # seconds to the next run after one that failed


@dataclass(slots=True)
class Schedule:
    """All times are seconds of one monotonic clock.

    Attributes:
        mutations: changes that make a run worth while by themselves.
        pause: the part of the time that collecting may take.
        startup_delay: from the start to the first run, which also finds what was left before.
    """

    mutations: int
    pause: float
    startup_delay: float
    _changed: int = 0
    _due: float | None = None
    _ended: float = 0.0
    _lengths: list[float] = field(default_factory=list)

    @property
    def due(self) -> float | None:
        """When the next run is due; None for never."""
        return self._due

    def started(self, now: float) -> None:
        """The daemon is up."""
        self._plan(now + self.startup_delay)

    def noted(self, now: float, mutations: int, deletions: int) -> None:
        """So much has changed since the last note."""
        self._changed += mutations
        if deletions or self._changed >= self.mutations:
            self._plan(now + DELAY)

    def expects(self, at: float) -> None:
        """Something expires then."""
        self._plan(at)

    def ran(self, began: float, now: float) -> None:
        """A run has ended; what came to our knowledge while it went is for the next one."""
        self._lengths = [*self._lengths[1 - RUNS :], now - began]
        self._ended = now
        if self._due is not None:
            self._due = max(self._due, self._earliest())

    def begins(self) -> None:
        """A run begins now."""
        self._changed, self._due = 0, None

    def failed(self, now: float) -> None:
        """A run could not be completed."""
        self._ended = now
        self._plan(now + RETRY)

    def _plan(self, at: float) -> None:
        at = max(at, self._earliest())
        self._due = at if self._due is None else min(self._due, at)

    def _earliest(self) -> float:
        """A run of length d is followed by a rest of d / pause - d, so that it takes that part of time."""
        if not self._lengths or self.pause >= 1:
            return 0.0
        middle = sorted(self._lengths)[len(self._lengths) // 2]
        return self._ended + middle * (1 / self.pause - 1)
