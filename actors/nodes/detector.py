"""How likely it is that a silent peer is gone: the phi accrual failure detector. Pure.

After Hayashibara, Défago, Yared and Katayama, "The phi accrual failure detector" (SRDS 2004): phi is minus
the decimal logarithm of the probability that a heartbeat comes even later than now, given how late those
before it came. A link that is slow and uneven so earns itself more patience than one that is quick and even.

Two additions, for which there are reasons: a pause that is forgiven always, since a process that has just
been scheduled out is not dead, and a bound on each interval, so that no peer can earn patience without end.
"""

import math
from collections import deque
from statistics import NormalDist
from typing import Final

WINDOW: Final = 64  # intervals that are remembered
PAUSE: Final = 1.5  # seconds that are forgiven
LEAST_DEVIATION: Final = 0.3  # of the interval that is expected
LONGEST: Final = 5.0  # an interval counts as so many of those that are expected, at most
MOST_PHI: Final = 99.0  # where the arithmetic ends


class Detector:
    """Of one peer. Times are seconds of a monotonic clock."""

    def __init__(self, now: float, interval: float) -> None:
        """`interval`: how often it is expected to be heard."""
        self._expected = interval
        self._last = now
        # What is not known yet is taken to be as expected, and somewhat uneven.
        self._intervals = deque((interval * 0.75, interval * 1.25), WINDOW)

    def heard(self, now: float) -> None:
        """A heartbeat has come."""
        self._intervals.append(min(max(0.0, now - self._last), self._expected * LONGEST))
        self._last = max(now, self._last)

    def resume(self, now: float) -> None:
        """It is heard again after an outage, whose length says nothing about the next interval."""
        self._last = max(now, self._last)

    def forgive(self, seconds: float) -> None:
        """We ourselves have not listened for so long."""
        self._last += seconds

    def phi(self, now: float) -> float:
        """0 for one that is on time, 1 where one in ten would come even later, 2 for one in a hundred."""
        mean, deviation = self._usual()
        late = (now - self._last - mean) / deviation
        chance = 0.5 * math.erfc(late / math.sqrt(2))
        return max(0.0, min(MOST_PHI, -math.log10(chance))) if chance > 0 else MOST_PHI

    def due(self, phi: float) -> float:
        """When it will have reached that, if nothing is heard; `phi` is above 0 and at most 15."""
        mean, deviation = self._usual()
        return self._last + mean - NormalDist().inv_cdf(10**-phi) * deviation

    def _usual(self) -> tuple[float, float]:
        """Mean, with what is forgiven, and deviation of the intervals."""
        number = len(self._intervals)
        mean = sum(self._intervals) / number
        variance = sum((one - mean) ** 2 for one in self._intervals) / number
        return mean + PAUSE, max(math.sqrt(variance), self._expected * LEAST_DEVIATION)
