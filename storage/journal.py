"""The event journal: what happened, numbered without gaps, so that a reader can resume where it was.

A reader keeps (instance, seq). Another instance means that the numbers begin anew; `missed` says how many
events were trimmed before it could read them.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from storage.database import Database
from storage.errors import InvalidArgumentError
from storage.names import check_text, decode, encode

# AUTOINCREMENT: a number is never used twice, even when everything has been trimmed.
_FIRST = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    topic TEXT NOT NULL,
    key TEXT UNIQUE,
    body TEXT NOT NULL,
    at INTEGER NOT NULL
);
CREATE TABLE identity (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    instance TEXT NOT NULL
);
"""
MIGRATIONS: Final = (_FIRST,)
_READ = """SELECT seq, namespace, topic, key, body, at FROM events
    WHERE seq > :after AND (:namespace IS NULL OR namespace = :namespace)
    AND (:since IS NULL OR at >= :since) ORDER BY seq LIMIT :limit"""

MAX_READ = 10_000
"""The most events that one read returns."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append; `at` is in nanoseconds since the epoch."""

    namespace: str
    topic: str
    body: Mapping[str, Any]
    at: int
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """An event as journalled."""

    seq: int
    namespace: str
    topic: str
    key: str | None
    body: Mapping[str, Any]
    at: int


class Journal:
    """The journal at `path`, with one writer. What `append` has returned is durable."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, MIGRATIONS)
        self._database.execute("INSERT OR IGNORE INTO identity VALUES (1, ?)", (str(uuid.uuid4()),))
        row = self._database.one("SELECT instance FROM identity")
        self.instance: str = row[0] if row else ""

    @property
    def last_seq(self) -> int:
        """The number of the newest event ever appended; 0 when there was none."""
        row = self._database.one("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
        return int(row[0]) if row else 0

    @property
    def first_seq(self) -> int:
        """The number of the oldest event kept; `last_seq` + 1 when none is."""
        row = self._database.one("SELECT min(seq) FROM events")
        return self.last_seq + 1 if row is None or row[0] is None else int(row[0])

    def missed(self, after_seq: int) -> int:
        """How many events after `after_seq` a reader can no longer get because they were trimmed."""
        return max(0, self.first_seq - 1 - after_seq)

    def append(
        self, namespace: str, topic: str, key: str | None, body: Mapping[str, Any], at: int
    ) -> tuple[int, bool]:
        """Append one event; its number and whether it is new.

        A key announces an event once: the second append of the same key returns the first one's number and
        False, whatever its body. A key is known for as long as its event is kept.
        """
        return self.append_many((NewEvent(namespace, topic, body, at, key),))[0]

    def append_many(self, events: Sequence[NewEvent]) -> tuple[tuple[int, bool], ...]:
        """Append all in one commit, or none.

        Raises:
            InvalidArgumentError: an event is malformed or too large.
            UnavailableError: the disk is full.
        """
        rows = [_row(event) for event in events]
        with self._database.transaction():
            return tuple(self._insert(row) for row in rows)

    def _insert(self, row: tuple[str, str, str | None, str, int]) -> tuple[int, bool]:
        found = self._database.one("SELECT seq FROM events WHERE key = ?", (row[2],))
        if found is not None:
            return int(found[0]), False
        cursor = self._database.execute(
            "INSERT INTO events (namespace, topic, key, body, at) VALUES (?, ?, ?, ?, ?)", row
        )
        return int(cursor.lastrowid or 0), True

    def read(
        self, after_seq: int, limit: int, *, namespace: str | None = None, since_time: int | None = None
    ) -> tuple[Event, ...]:
        """The next events after `after_seq`, at most `limit`, of one namespace or from a time on if given."""
        parameters = {
            "after": after_seq,
            "namespace": namespace,
            "since": since_time,
            "limit": max(0, min(limit, MAX_READ)),
        }
        return tuple(_event(row) for row in self._database.rows(_READ, parameters))

    def trim(self, max_events: int) -> int:
        """Keep the newest `max_events`, drop the older ones; how many were dropped."""
        if max_events < 0:
            raise InvalidArgumentError(f"cannot keep {max_events} events: use 0 or more")
        return self._database.execute(
            "DELETE FROM events WHERE seq <= ?", (self.last_seq - max_events,)
        ).rowcount

    def check(self) -> tuple[str, ...]:
        """What is wrong with the file, one line per problem; empty when it is sound."""
        return self._database.check()

    def backup(self, target: Path) -> None:
        """Write a consistent, durable copy to `target` while in use."""
        self._database.backup(target)

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _row(event: NewEvent) -> tuple[str, str, str | None, str, int]:
    check_text("event topic", event.topic, limit=256)
    check_text("event namespace", event.namespace, limit=256, empty=True)
    if event.key is not None:
        check_text("event key", event.key, limit=2048)  # an image's name may have 1024
    return event.namespace, event.topic, event.key, encode(dict(event.body)), event.at


def _event(row: tuple[Any, ...]) -> Event:
    seq, namespace, topic, key, body, at = row
    return Event(seq, namespace, topic, key, decode(body), at)
