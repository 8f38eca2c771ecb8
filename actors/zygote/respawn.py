"""When the zygote starts the supervisor again, when it kills one that hangs, and how long a stop may take.

No clock, no process: what is due is decided here, the loop does it. Moments are in seconds of a monotonic
clock, 0 for never.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Final

RESPAWN_FIRST: Final = 0.1  # seconds until the second start in a row, doubled with each further one
RESPAWN_LIMIT: Final = 5.0  # seconds between two starts of a supervisor that dies at once
STOP_LIMIT: Final = 30.0  # seconds that an orderly stop may take
DUMP_LIMIT: Final = 1.0  # seconds that a supervisor that hangs gets to write its stacks down


class Due(Enum):
    """What is to be done now."""

    GIVE_UP = "the stop has taken too long"
    START = "there is to be another supervisor"
    KILL = "it hangs, and has had time to write its stacks down"


class Respawn:
    """Of the one child that nobody else starts again.

    Attributes:
        delay: seconds that the next one waits for when this one ends; 0 once one has come up.
        stop_by: when an orderly stop is over, whatever is left.
    """

    def __init__(self) -> None:
        """There is none yet, and no stop."""
        self.delay = 0.0
        self.stop_by = 0.0
        self._start_at = 0.0
        self._kill_at = 0.0

    def started(self) -> None:
        """There is one, or has been: what has become of the fork is told by `ended`."""
        self._start_at = self._kill_at = 0.0

    def up(self) -> None:
        """It has all of its tree: the next misfortune is a new one."""
        self.delay = 0.0

    def ended(self, status: int | None, now: float) -> bool:
        """Whether that was the end of a stop in order; else there is to be another one."""
        self._kill_at = 0.0
        if self.stop_by and status == 0:
            return True
        self._start_at = now + self.delay
        self.delay = min(RESPAWN_LIMIT, max(RESPAWN_FIRST, self.delay * 2))
        return False

    def hangs(self, now: float) -> bool:
        """Whether it is to write its stacks down: once, then it is killed."""
        if self._kill_at:
            return False
        self._kill_at = now + DUMP_LIMIT
        return True

    def stop(self, now: float) -> None:
        """An orderly stop begins."""
        self.stop_by = now + STOP_LIMIT

    @property
    def moments(self) -> tuple[float, float, float]:
        """When something is due."""
        return self.stop_by, self._start_at, self._kill_at

    def due(self, now: float) -> Iterator[Due]:
        """Each in turn: what is done for one may settle the next."""
        if self.stop_by and now >= self.stop_by:
            yield Due.GIVE_UP
        elif self._start_at and now >= self._start_at:
            yield Due.START
        if self._kill_at and now >= self._kill_at:
            yield Due.KILL
