"""One making of a container's bundle: it ends when a later one begins, with all that it had asked for.

Whoever asks anew does so since the one who asked before has died, or will never hear of an answer. What was
still asked for then, time and again until somebody answers, could be done when the container is gone
already, and would stay.
"""

import concurrent.futures
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from transport.errors import RemoteError

MARGIN = 1.0  # seconds before the deadline in which nothing is asked for: who gives up then cleans up
Result = TypeVar("Result")


class Making:
    """Made in the actor's thread; the rest is for the worker's."""

    def __init__(self, limit: float, before: "Making | None") -> None:
        """To be over in `limit` seconds, 0 for any; `before`, that of the same container, is given up."""
        self._ends = time.monotonic() + (limit - MARGIN if limit else float("inf"))
        self._lock = threading.Lock()
        self._asked: list[Future[Any]] = []
        self._given_up = False
        self._ended = threading.Event()
        self._before = before
        if before is not None:
            before._give_up()  # noqa: SLF001  # one of its own

    def _give_up(self) -> None:
        with self._lock:
            self._given_up = True
            asked = list(self._asked)
        for future in asked:
            future.cancel()

    def perform(self, work: Callable[[], Result]) -> Result:
        """Do the work once nothing else works on the same. Raises RemoteError when it is given up."""
        before, self._before = self._before, None
        try:
            if before is not None:
                before._ended.wait()  # noqa: SLF001
            return work()
        except concurrent.futures.CancelledError as error:
            text = "somebody else has asked for it since"
            raise RemoteError("unavailable", text, outcome="unknown") from error
        finally:
            self._ended.set()

    def hold(self, future: Future[Any]) -> Future[Any]:
        """What was asked for is given up with us."""
        with self._lock:
            self._asked.append(future)
            given_up = self._given_up
        if given_up:
            future.cancel()
        return future

    def left(self, limit: float) -> float:
        """Seconds that a question may take which could take `limit`."""
        return max(0.0, min(limit, self._ends - time.monotonic()))
