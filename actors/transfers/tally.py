"""What a transfer moves, told to the metrics while it goes on: it may have ended before anybody asks."""

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from actors import messages as m

EVERY: Final = 1.0  # seconds between two notes


class Tally:
    """Bytes of one transfer; any thread adds. What a killed one had not said is not counted."""

    def __init__(self, task: str, say: Callable[[Any], None]) -> None:
        """`say` sends a note; nobody waits for what becomes of it."""
        self._task = task
        self._say = say
        self._lock = threading.Lock()
        self._bytes = 0
        self._said = time.monotonic()

    def add(self, count: int) -> None:
        """More bytes, from or to a registry."""
        with self._lock:
            self._bytes += count
            if time.monotonic() - self._said < EVERY:
                return
            note = self._note()
        self._say(note)

    def end(self, outcome: str) -> None:
        """The rest, and `ok` or the code of the error."""
        with self._lock:
            note = self._note(outcome)
        self._say(note)

    def _note(self, outcome: str = "") -> m.MetricsTransferred:
        note = m.MetricsTransferred(self._task, self._bytes, outcome)
        self._bytes, self._said = 0, time.monotonic()
        return note
