"""Leases and content labels: what the garbage collector starts from."""

import json
import re
from collections.abc import Callable
from typing import Any

from storage.database import Database
from storage.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from storage.metadata.namespaces import Namespaces
from storage.metadata.records import ContentLabels, Labels, Lease, Resource
from storage.names import check_identifier, check_text, encode_labels

_RESOURCE_TYPE = re.compile(r"content|ingests|images|snapshots/[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")


class Leases:
    """The leases table and the resources that each lease holds."""

    def __init__(self, database: Database, namespaces: Namespaces, clock: Callable[[], int]) -> None:
        self._database = database
        self._namespaces = namespaces
        self._clock = clock

    def create(
        self, namespace: str, identity: str, *, labels: Labels | None = None, expires_at: int | None = None
    ) -> Lease:
        """Make a lease that holds nothing yet.

        Raises:
            AlreadyExistsError: the id is taken.
            InvalidArgumentError: the id is not an identifier.
        """
        check_identifier("lease", identity)
        encoded = encode_labels(labels or {})
        with self._database.transaction():
            self._namespaces.ensure(namespace)
            if self._find(namespace, identity) is not None:
                raise AlreadyExistsError(f'lease "{identity}" already exists in namespace "{namespace}"')
            self._database.execute(
                "INSERT INTO leases VALUES (?, ?, ?, ?, ?)",
                (namespace, identity, encoded, self._clock(), expires_at),
            )
        return self.get(namespace, identity)

    def get(self, namespace: str, identity: str) -> Lease:
        """The lease of that id.

        Raises:
            NotFoundError: it does not exist.
        """
        lease = self._find(namespace, identity)
        if lease is None:
            raise NotFoundError(f'lease "{identity}" not found in namespace "{namespace}"')
        return lease

    def list(self, namespace: str | None = None) -> tuple[Lease, ...]:
        """The leases of a namespace, or of all; expired ones too, until somebody deletes them."""
        rows = self._database.rows(
            "SELECT * FROM leases WHERE ?1 IS NULL OR namespace = ?1 ORDER BY namespace, id", (namespace,)
        )
        return tuple(_lease(row) for row in rows)

    def delete(self, namespace: str, identity: str) -> None:
        """Delete the lease; what it alone held goes with the next garbage collection."""
        with self._database.transaction():
            self.get(namespace, identity)
            self._database.execute("DELETE FROM leases WHERE namespace = ? AND id = ?", (namespace, identity))

    def add(self, namespace: str, identity: str, resource: Resource) -> None:
        """Let the lease hold a resource; again is no error.

        Raises:
            NotFoundError: the lease does not exist.
            InvalidArgumentError: the type is none of content, ingests, images, snapshots/NAME.
        """
        if not _RESOURCE_TYPE.fullmatch(resource.type):
            raise InvalidArgumentError(
                f"lease resource type {resource.type[:80]!a} is not valid: "
                "use content, ingests, images or snapshots/NAME"
            )
        check_text("lease resource", resource.id)
        with self._database.transaction():
            self.get(namespace, identity)
            self._database.execute(
                "INSERT OR IGNORE INTO lease_resources VALUES (?, ?, ?, ?)",
                (namespace, identity, resource.type, resource.id),
            )

    def remove(self, namespace: str, identity: str, resource: Resource) -> None:
        """Let the lease hold a resource no longer; one that it does not hold is no error."""
        with self._database.transaction():
            self.get(namespace, identity)
            self._database.execute(
                "DELETE FROM lease_resources WHERE namespace = ? AND lease = ? AND type = ? AND id = ?",
                (namespace, identity, resource.type, resource.id),
            )

    def resources(self, namespace: str, identity: str) -> tuple[Resource, ...]:
        """What the lease holds."""
        self.get(namespace, identity)
        rows = self._database.rows(
            "SELECT type, id FROM lease_resources WHERE namespace = ? AND lease = ? ORDER BY type, id",
            (namespace, identity),
        )
        return tuple(Resource(*row) for row in rows)

    def _find(self, namespace: str, identity: str) -> Lease | None:
        row = self._database.one("SELECT * FROM leases WHERE namespace = ? AND id = ?", (namespace, identity))
        return None if row is None else _lease(row)


class ContentLabelTable:
    """The labels that each namespace has put on blobs; a row also says that the namespace knows the blob."""

    def __init__(self, database: Database, namespaces: Namespaces) -> None:
        self._database = database
        self._namespaces = namespaces

    def get(self, namespace: str, digest: str) -> ContentLabels:
        """The labels of a blob.

        Raises:
            NotFoundError: this namespace does not know the blob.
        """
        row = self._database.one(
            "SELECT * FROM content_labels WHERE namespace = ? AND digest = ?", (namespace, digest)
        )
        if row is None:
            raise NotFoundError(f'content "{digest}" not found in namespace "{namespace}"')
        return _content_labels(row)

    def put(self, namespace: str, digest: str, labels: Labels) -> None:
        """Replace the labels of a blob."""
        check_text("digest", digest, limit=256)
        encoded = encode_labels(labels)
        with self._database.transaction():
            self._namespaces.ensure(namespace)
            self._database.execute(
                "INSERT OR REPLACE INTO content_labels VALUES (?, ?, ?)", (namespace, digest, encoded)
            )

    def list(self, namespace: str | None = None) -> tuple[ContentLabels, ...]:
        """Every labelled blob of a namespace, or of all."""
        rows = self._database.rows(
            "SELECT * FROM content_labels WHERE ?1 IS NULL OR namespace = ?1 ORDER BY namespace, digest",
            (namespace,),
        )
        return tuple(_content_labels(row) for row in rows)

    def delete(self, namespace: str, digest: str) -> None:
        """Drop the labels of a blob; none is no error."""
        self._database.execute(
            "DELETE FROM content_labels WHERE namespace = ? AND digest = ?", (namespace, digest)
        )


def _lease(row: tuple[Any, ...]) -> Lease:
    namespace, identity, labels, created_at, expires_at = row
    return Lease(namespace, identity, json.loads(labels), created_at, expires_at)


def _content_labels(row: tuple[Any, ...]) -> ContentLabels:
    namespace, digest, labels = row
    return ContentLabels(namespace, digest, json.loads(labels))
