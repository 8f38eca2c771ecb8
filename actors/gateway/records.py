"""What is on record, read beside its owners: the databases of metadata and snapshots, and blobs.

Most of what a client asks changes nothing. To read it here takes a tenth of what asking the owner takes, and
holds nobody up. A reader of the database sees what has been committed, and so does its owner answer: a client
reads what it has written. Whatever cannot be read here is asked of the owner.
"""

import threading
from typing import Any, Final

from actors import lookups
from actors import messages as m
from actors.call import as_remote
from actors.content import described
from actors.lookups import LOOKUPS
from actors.settings import Settings
from actors.snapshots import described as as_answered
from actors.snapshots import how_to_use, opened
from storage.content import ContentStore
from storage.digest import Digest
from storage.errors import FailedPreconditionError, StorageError, UnavailableError
from storage.metadata import Metadata
from storage.snapshotters import Snapshotter

ASK: Final = object()
"""The owner is to be asked."""


class Records:
    """One reader for all threads, which take turns: a look takes a fraction of a millisecond."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is opened yet: the databases may not be there."""
        self._root, self._default = settings.root, settings.snapshots_default
        self._content = ContentStore(settings.content, reader=True)
        self._store: Metadata | None = None
        self._snapshotters: dict[str, Snapshotter] = {}
        self._turn = threading.Lock()

    def answer(self, body: Any) -> Any:
        """What the owner would answer; ASK if that is to be asked. Raises RemoteError."""
        try:
            if type(body) is m.ContentInfo and body.namespace:
                Digest.parse(body.digest)
                row = self._looked_up(m.ContentsGet(body.namespace, body.digest))
                return row if row is ASK else described(self._content, row)
            return self._looked_up(body)
        except (UnavailableError, FailedPreconditionError):  # it is just being made, or put right
            return ASK
        except StorageError as error:
            raise as_remote(error, "") from error

    def _looked_up(self, body: Any) -> Any:
        if type(body) not in LOOKUPS:
            return self._of_snapshots(body)
        with self._turn:
            if self._store is None:
                self._store = Metadata(self._root / "metadata.db", reader=True)
            return lookups.answer(self._store, body)

    def _of_snapshots(self, body: Any) -> Any:
        if not isinstance(body, m.SnapshotsStat | m.SnapshotsMounts):
            return ASK
        name = body.snapshotter or self._default
        with self._turn:
            if name not in self._snapshotters:
                self._snapshotters[name] = opened(self._root, name, reader=True)
            store = self._snapshotters[name]
            if isinstance(body, m.SnapshotsMounts):
                return how_to_use(store, body.namespace, body.key)
            return as_answered(store.stat(body.namespace, body.key))
