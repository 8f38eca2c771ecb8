"""Announcements: events of what is on record, noted with the record itself.

Who wrote a record may be killed before anybody has heard of it, and of what was deleted nothing is left that
says so. The next incarnation announces those of the last minutes again; its key makes an event happen once.
"""

from collections.abc import Callable
from typing import Final

from storage.database import Database
from storage.metadata.records import Announcement, Json
from storage.names import decode, encode

LIFETIME: Final = 120 * 10**9
"""Nanoseconds for which one is kept: no crash takes longer to be over, and no event is forgotten sooner."""


class Announcements:
    """The announcements table."""

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database = database
        self._clock = clock

    def note(self, namespace: str, topic: str, key: str, body: Json) -> Announcement:
        """To be called in the transaction that writes what it is about."""
        now = self._clock()
        return self.keep(Announcement(f"{topic}:{namespace}:{key}:{now}", namespace, topic, body, now))

    def keep(self, noted: Announcement) -> Announcement:
        """One that has its key and its time already; in such a transaction, too."""
        row = (noted.key, noted.namespace, noted.topic, encode(dict(noted.body)), noted.at)
        with self._database.transaction():
            self._database.execute("DELETE FROM announcements WHERE at <= ?", (self._clock() - LIFETIME,))
            self._database.execute("INSERT OR REPLACE INTO announcements VALUES (?, ?, ?, ?, ?)", row)
        return noted

    def recent(self) -> tuple[Announcement, ...]:
        """Those that may not have been told, oldest first."""
        since = self._clock() - LIFETIME
        rows = self._database.rows(
            "SELECT key, namespace, topic, body, at FROM announcements WHERE at > ? ORDER BY at, key",
            (since,),
        )
        return tuple(
            Announcement(key, namespace, topic, decode(body), at) for key, namespace, topic, body, at in rows
        )
