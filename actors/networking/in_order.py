"""Work that takes time, one after the other for the same key, and for different keys at once."""

from collections import deque
from collections.abc import Callable
from typing import Any

Done = Callable[[Any], None]
Work = Callable[[], Any]


class InOrder:
    """For one thread."""

    def __init__(self, begin: Callable[[Work, Done], None]) -> None:
        """`begin` has something done elsewhere, and then tells what came of it."""
        self._begin = begin
        self._queues: dict[str, deque[Callable[[], None]]] = {}

    def do(self, key: str, work: Work, then: Done) -> None:
        """Have `work` done after whatever is under way for the same key; `then` gets what came of it."""
        queue = self._queues.setdefault(key, deque())

        def finished(result: Any) -> None:
            queue.popleft()
            if queue:
                queue[0]()
            else:
                del self._queues[key]
            then(result)

        queue.append(lambda: self._begin(work, finished))
        if len(queue) == 1:
            queue[0]()
