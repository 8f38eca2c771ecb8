"""What has passed the router, for the metrics: requests, how they ended and how long they took."""

from collections import Counter, defaultdict
from typing import Any, Final

from transport.durations import Durations

MOST_OPERATIONS: Final = 512
OTHER: Final = "other"
"""Operations that have never been done: names come from clients, who may ask for anything."""
FINISHED: Final = "ok"


class Traffic:
    """Counts only, since this router began."""

    def __init__(self) -> None:
        self._ended: Counter[tuple[str, str]] = Counter()
        self._took: defaultdict[str, Durations] = defaultdict(Durations)
        self._known: set[str] = set()

    def ended(self, operation: str, outcome: str, seconds: float | None) -> None:
        """A request was answered: `ok`, or with the code of an error. `seconds` only by whom it was for."""
        if outcome == FINISHED and len(self._known) < MOST_OPERATIONS:
            self._known.add(operation)
        name = operation if operation in self._known else OTHER
        self._ended[name, outcome] += 1
        if seconds is not None:
            self._took[name].add(seconds)

    def to_dict(self) -> dict[str, Any]:
        """For the wire: `ended`, a list of operation, outcome and number; `took`, durations by operation."""
        return {
            "ended": [[*key, number] for key, number in self._ended.items()],
            "took": {operation: spans.to_dict() for operation, spans in self._took.items()},
        }
