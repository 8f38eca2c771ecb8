"""How long things took, counted in buckets: what a histogram of Prometheus needs and nothing more."""

from bisect import bisect_left
from typing import Any, Final

BOUNDS: Final = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0)
"""Upper bounds of the buckets in seconds; what took longer falls into one more."""


class Durations:
    """Written by one thread; whoever reads meanwhile may miss the last one."""

    __slots__ = ("_counts", "_seconds")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0

    def add(self, seconds: float) -> None:
        """One more; a clock that was set back makes it none at all."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self._seconds += max(0.0, seconds)

    def to_dict(self) -> dict[str, Any]:
        """For the wire: `counts`, one for each bucket and not added up, and `seconds`, their sum."""
        return {"counts": list(self._counts), "seconds": self._seconds}
