"""What an actor measures of itself, for the metrics.

Written in the actor's thread and its workers', read in the pump's, which answers `metrics.figures` itself:
so an actor that is stuck, or has more to do than it can, still tells how much. Names are those of
actors/metric_names.py without `actord_` and unit.
"""

import threading
from collections import Counter
from typing import Any

from transport.durations import Durations


class Meter:
    """One for each actor's process; all of it begins anew with the process, as counters of Prometheus may.

    Attributes:
        work: how long the actor's thread was busy with each message.
    """

    def __init__(self) -> None:
        self.work = Durations()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._levels: dict[str, float] = {}
        self._spans: dict[str, Durations] = {}
        self._writing = threading.Lock()

    def count(self, name: str, number: float = 1, label: str = "") -> None:
        """Add to a counter; `label` is the value of the one label that it has, if it has one."""
        with self._writing:
            self._counts[name, label] += number  # type: ignore[assignment]  # seconds are counted too

    def level(self, name: str, value: float) -> None:
        """Set a gauge."""
        self._levels[name] = value

    def took(self, name: str, seconds: float) -> None:
        """Add to a histogram."""
        with self._writing:
            self._spans.setdefault(name, Durations()).add(seconds)

    def to_dict(self) -> dict[str, Any]:
        """For the wire."""
        with self._writing:
            return {
                "work": self.work.to_dict(),
                "counts": [[*key, number] for key, number in self._counts.items()],
                "levels": dict(self._levels),
                "spans": {name: spans.to_dict() for name, spans in self._spans.items()},
            }
