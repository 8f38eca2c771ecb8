"""The outbox: encoded messages on their way to the router, in order, however often the connection breaks."""

import threading
from collections import deque
from typing import Final

MAX_WAITING: Final = 10_000  # messages that wait for the router
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
BATCH: Final = 64  # messages given to the kernel at once


class BacklogError(Exception):
    """More waits for the router than there is room for; the message was not queued."""


class Outbox:
    """In memory; it outlives connections.

    Attributes:
        begun: bytes of the first message that the kernel has taken.
    """

    def __init__(self) -> None:
        self.begun = 0
        self._lock = threading.Lock()  # for those who add; the pump's thread never takes it
        self._waiting: deque[bytes] = deque()
        self._batch: deque[bytes] = deque()  # those before `_waiting`; of who may write to the connection
        self._added = 0  # bytes, ever
        self._gone = 0

    def __len__(self) -> int:
        """How many messages have not left, or not whole."""
        return len(self._batch) + len(self._waiting)

    @property
    def crowded(self) -> bool:
        """Whether a quarter of the room is taken."""
        return len(self) > MAX_WAITING // 4 or self._added - self._gone > MAX_WAITING_BYTES // 4

    def add(self, message: bytes) -> None:
        """Queue it. From any thread but not in a signal's handler. Raises BacklogError."""
        with self._lock:
            if len(self) >= MAX_WAITING:
                raise BacklogError(f"{MAX_WAITING} messages wait for the router already")
            if self._added - self._gone + len(message) > MAX_WAITING_BYTES:
                raise BacklogError(f"more than {MAX_WAITING_BYTES} bytes would wait for the router")
            self._added += len(message)
            self._waiting.append(message)

    def begin(self, message: bytes, begun: int) -> None:
        """Put one in front of which the kernel has taken some bytes: there was none before it."""
        with self._lock:
            self._added += len(message)
        self._batch.appendleft(message)
        self.begun = begun

    def batch(self) -> list[bytes | memoryview]:
        """What to give to the kernel next."""
        while self._waiting and len(self._batch) < BATCH:
            self._batch.append(self._waiting.popleft())
        first, *others = self._batch
        return [memoryview(first)[self.begun :], *others]

    def took(self, size: int) -> None:
        """The kernel has taken `size` bytes of the batch."""
        self.begun += size
        while self._batch and self.begun >= len(self._batch[0]):
            gone = len(self._batch.popleft())
            self.begun -= gone
            self._gone += gone

    def rewind(self) -> None:
        """The connection broke: what was taken in part is to be sent from its beginning."""
        self.begun = 0
