"""The metadata store: namespaces, images, containers, tasks, leases, known content, events to be told.

One SQLite file with one writer, the metadata actor. Every method is synchronous and durable when it
returns, unless it runs inside `transaction()`: then everything in the block becomes durable together.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from storage.database import Database
from storage.metadata.announcements import Announcements
from storage.metadata.collecting import Collecting
from storage.metadata.containers import Containers
from storage.metadata.contents import Contents
from storage.metadata.images import Images
from storage.metadata.leases import Leases
from storage.metadata.namespaces import Namespaces
from storage.metadata.records import (
    Announcement,
    Container,
    Content,
    Image,
    Lease,
    Namespace,
    NewContainer,
    Resource,
    Task,
)
from storage.metadata.schema import MIGRATIONS
from storage.metadata.tasks import Tasks

__all__ = [
    "Announcement",
    "Container",
    "Content",
    "Image",
    "Lease",
    "Metadata",
    "Namespace",
    "NewContainer",
    "Resource",
    "Task",
]


class Metadata:
    """The metadata database at `path`; `clock` gives nanoseconds since the epoch.

    A `reader` only looks, in a process that does not own it; see `Database`.

    Raises:
        FailedPreconditionError: the file was written by a newer version.
        UnavailableError: the file cannot be opened.
        StorageError: the file is damaged.
    """

    def __init__(self, path: Path, *, clock: Callable[[], int] = time.time_ns, reader: bool = False) -> None:
        self._database = Database(path, MIGRATIONS, reader=reader)
        self.namespaces = Namespaces(self._database)
        self.images = Images(self._database, self.namespaces, clock)
        self.containers = Containers(self._database, self.namespaces, clock)
        self.tasks = Tasks(self._database)
        self.leases = Leases(self._database, self.namespaces, clock)
        self.contents = Contents(self._database, self.namespaces, clock)
        self.announcements = Announcements(self._database, clock)
        self.collecting = Collecting(self._database, self.leases, clock)

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """Group writes in one commit; see `Database.transaction` for how blocks nest."""
        return self._database.transaction()

    @property
    def changes(self) -> int:
        """How many rows were changed since the file was opened."""
        return self._database.changes

    def check(self) -> tuple[str, ...]:
        """What is wrong with the file, one line per problem; empty when it is sound."""
        return self._database.check()

    def backup(self, target: Path) -> None:
        """Write a consistent, durable copy to `target` while in use."""
        self._database.backup(target)

    def close(self) -> None:
        """Close the file."""
        self._database.close()
