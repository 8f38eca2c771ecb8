"""Idempotency keys: what a retried request is answered with instead of being done twice.

The key is remembered without a result before the side effect and with one after it, so that after a crash
in between the retry is known to be one.
"""

from collections.abc import Callable
from typing import Any

from storage.database import Database
from storage.errors import InvalidArgumentError
from storage.metadata.records import Remembered
from storage.names import check_text, decode, encode

LIFETIME = 24 * 3600 * 10**9
"""Nanoseconds for which a key is remembered."""


class Idempotency:
    """The idempotency table."""

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database = database
        self._clock = clock

    def remember(self, key: str, operation: str, result: Any = None) -> Remembered:
        """Record that the operation has begun (no result) or ended; the first result of a key stays.

        Raises:
            InvalidArgumentError: the key belongs to another operation, or is malformed.
        """
        check_text("idempotency key", key, limit=256)
        check_text("operation", operation, limit=256)
        encoded = None if result is None else encode(result)
        now = self._clock()
        with self._database.transaction():
            self._database.execute("DELETE FROM idempotency WHERE at <= ?", (now - LIFETIME,))
            self.recall(key, operation)
            self._database.execute(
                "INSERT INTO idempotency VALUES (?, ?, ?, ?) "
                "ON CONFLICT (key) DO UPDATE SET result = coalesce(result, excluded.result)",
                (key, operation, encoded, now),
            )
            row = self._database.one("SELECT * FROM idempotency WHERE key = ?", (key,))
        return _remembered(row or (key, operation, encoded, now))

    def recall(self, key: str, operation: str) -> Remembered | None:
        """What is known of a key not older than 24 hours, or None.

        Raises:
            InvalidArgumentError: the key was used for another operation.
        """
        row = self._database.one(
            "SELECT * FROM idempotency WHERE key = ? AND at > ?", (key, self._clock() - LIFETIME)
        )
        if row is None:
            return None
        if row[1] != operation:
            raise InvalidArgumentError(
                f'idempotency key "{key}" was used for {row[1]}: use a new key for {operation}'
            )
        return _remembered(row)

    def forget(self, key: str) -> None:
        """Drop a key whose operation failed before it changed anything, so that it can be tried again."""
        self._database.execute("DELETE FROM idempotency WHERE key = ?", (key,))


def _remembered(row: tuple[Any, ...]) -> Remembered:
    key, operation, result, at = row
    return Remembered(key, operation, None if result is None else decode(result), at)
