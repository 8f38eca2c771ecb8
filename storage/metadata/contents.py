"""Content as namespaces know it: a row says that a namespace knows a blob, and with which labels.

The bytes are the content store's. A row is written once the blob is durable; a blob without any row is
known to nobody, and goes with the next collection.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from storage.database import Database
from storage.errors import NotFoundError
from storage.metadata.namespaces import Namespaces
from storage.metadata.records import Content, Labels
from storage.names import check_text, decode, encode_labels
from storage.paging import page

# A document has a label for each of its children, and may have as many of these as 4 MiB of JSON can name.
_MOST_LABELS = 40_000
SHAREABLE = "containerd.io/namespace.shareable"
_PUT = """INSERT INTO content_labels VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT (namespace, digest)
    DO UPDATE SET labels = excluded.labels, updated_at = excluded.updated_at"""

_PAGE = """SELECT * FROM content_labels WHERE (?1 IS NULL OR namespace = ?1)
    AND (namespace, digest) > (?2, ?3) ORDER BY namespace, digest"""


class Contents:
    """The content_labels table."""

    def __init__(self, database: Database, namespaces: Namespaces, clock: Callable[[], int]) -> None:
        self._database = database
        self._namespaces = namespaces
        self._clock = clock

    def get(self, namespace: str, digest: str) -> Content:
        """What a namespace has on record of a blob.

        Raises:
            NotFoundError: it does not know the blob.
        """
        found = self.find(namespace, digest)
        if found is None:
            raise NotFoundError(f'content "{digest}" not found in namespace "{namespace}"')
        return found

    def find(self, namespace: str, digest: str) -> Content | None:
        """The same, or None."""
        row = self._database.one(
            "SELECT * FROM content_labels WHERE namespace = ? AND digest = ?", (namespace, digest)
        )
        return None if row is None else _content(row)

    def put(self, namespace: str, digest: str, labels: Labels) -> Content:
        """Make a blob known, with these labels in the place of those it had."""
        check_text("digest", digest, limit=256)
        encoded = encode_labels(labels, most=_MOST_LABELS)
        with self._database.transaction():
            self._namespaces.ensure(namespace)
            self._database.execute(_PUT, (namespace, digest, encoded, self._clock()))
        return self.get(namespace, digest)

    def merge(self, namespace: str, labels: Mapping[str, Labels]) -> None:
        """Add labels to blobs, by digest, all or none; an empty value takes a label away.

        Raises:
            NotFoundError: one of them is not known here.
        """
        with self._database.transaction():
            for digest, added in labels.items():
                before = self.get(namespace, digest).labels
                after = {key: value for key, value in {**before, **added}.items() if value}
                if after != before:
                    self.put(namespace, digest, after)

    def list(self, namespace: str | None = None) -> tuple[Content, ...]:
        """Every blob known to a namespace, or to any."""
        rows = self._database.rows(
            "SELECT * FROM content_labels WHERE ?1 IS NULL OR namespace = ?1 ORDER BY namespace, digest",
            (namespace,),
        )
        return tuple(_content(row) for row in rows)

    def page(self, namespace: str | None, after: str) -> tuple[tuple[Content, ...], str]:
        """Some of them, in the same order, and what to go on after; nothing where these are the last."""
        last = after.partition(" ")[::2]
        found, more = page(self._database, _PAGE, (namespace, *last))
        return tuple(_content(row) for row in found), " ".join(found[-1][:2]) if more else ""

    def delete(self, namespace: str | None, digest: str) -> bool:
        """Forget a blob in a namespace, or in all; whether it was known."""
        sql = "DELETE FROM content_labels WHERE digest = ?1 AND (?2 IS NULL OR namespace = ?2)"
        return self._database.execute(sql, (digest, namespace)).rowcount > 0

    def known(self, digests: Collection[str]) -> set[str]:
        """Those that any namespace knows."""
        sql = "SELECT DISTINCT digest FROM content_labels WHERE digest IN (SELECT value FROM json_each(?))"
        return {row[0] for row in self._database.rows(sql, (json.dumps(list(digests)),))}

    def may_share(self, namespace: str, digest: str, *, isolated: bool) -> bool:
        """Whether a namespace may come to know a blob that others have, without bringing its bytes.

        Unless namespaces are isolated it may; then only what a shareable namespace has.
        """
        rows = self._database.rows("SELECT namespace FROM content_labels WHERE digest = ?", (digest,))
        others = [row[0] for row in rows if row[0] != namespace]
        return bool(others) and (not isolated or self._any_shareable(others))

    def _any_shareable(self, namespaces: Iterable[str]) -> bool:
        return any(self._namespaces.get(name).labels.get(SHAREABLE) == "true" for name in namespaces)


def _content(row: tuple[Any, ...]) -> Content:
    namespace, digest, labels, created_at, updated_at = row
    return Content(namespace, digest, decode(labels), created_at, updated_at)
