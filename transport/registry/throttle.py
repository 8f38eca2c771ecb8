"""A limit on the bytes per second, shared by the threads of one transfer."""

import threading
import time
from collections.abc import Callable

SHORTEST_WAIT = 0.01  # seconds; less is made up for the next time


class Throttle:
    """Makes threads wait so that together they take at most `rate` bytes per second; 0 is no limit."""

    def __init__(
        self,
        rate: int,
        *,
        wait: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = rate
        self._wait = wait
        self._clock = clock
        self._lock = threading.Lock()
        self._paid_until = 0.0  # the moment at which all bytes taken so far are allowed for

    def take(self, count: int) -> None:
        """Note `count` bytes, and wait until they are allowed for. What `wait` raises passes."""
        if not self._rate:
            return
        with self._lock:
            now = self._clock()
            self._paid_until = max(self._paid_until, now) + count / self._rate
            left = self._paid_until - now
        if left > SHORTEST_WAIT:
            self._wait(left)
