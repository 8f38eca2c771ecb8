"""Leases: what keeps resources that no name refers to yet.

A lease may have a holder, an actor: it is that actor's for one of its incarnations (`take`), and goes when
the actor has ended, however it ended. All others go when they are deleted or have expired.
"""

import json
import re
from collections.abc import Callable, Collection
from typing import Any

from storage.database import Database
from storage.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from storage.metadata.namespaces import Namespaces
from storage.metadata.records import Labels, Lease, Resource
from storage.names import check_text, decode, encode_labels
from storage.paging import page

_RESOURCE_TYPE = re.compile(r"content|ingests|images|snapshots/[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")

_PAGE = """SELECT * FROM leases WHERE (?1 IS NULL OR namespace = ?1)
    AND (namespace, id) > (?2, ?3) ORDER BY namespace, id"""
_HELD = "WHERE holder = ? AND holder != '' AND instance = ? AND incarnation <= ?"
_DELETE_HELD = f"DELETE FROM leases {_HELD}"  # noqa: S608  # nothing in it is anybody's
_LET_HELD_GO = f"UPDATE leases SET holder = '', expires_at = ? {_HELD}"  # noqa: S608  # the same


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
        check_text("lease", identity)  # an image that is mounted has the path as its lease
        encoded = encode_labels(labels or {})
        with self._database.transaction():
            self._namespaces.ensure(namespace)
            if self._find(namespace, identity) is not None:
                raise AlreadyExistsError(f'lease "{identity}" already exists in namespace "{namespace}"')
            self._database.execute(
                "INSERT INTO leases (namespace, id, labels, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
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

    def page(self, namespace: str | None, after: str) -> tuple[tuple[Lease, ...], str]:
        """Some of them, in the same order, and what to go on after; nothing where these are the last."""
        found, more = page(self._database, _PAGE, (namespace, *after.partition(" ")[::2]))
        return tuple(_lease(row) for row in found), " ".join(found[-1][:2]) if more else ""

    def delete(self, namespace: str, identity: str) -> None:
        """Delete the lease; what it alone held goes with the next garbage collection."""
        with self._database.transaction():
            self.get(namespace, identity)
            self._database.execute("DELETE FROM leases WHERE namespace = ? AND id = ?", (namespace, identity))

    def take(self, namespace: str, identity: str, holder: str, instance: str, incarnation: int) -> Lease:
        """Make the lease of an actor, or hand it on to that actor's next incarnation with all it holds."""
        with self._database.transaction():
            if self._find(namespace, identity) is None:
                self.create(namespace, identity)
            self._database.execute(
                "UPDATE leases SET holder = ?, instance = ?, incarnation = ?, expires_at = NULL "
                "WHERE namespace = ? AND id = ?",
                (holder, instance, incarnation, namespace, identity),
            )
        return self.get(namespace, identity)

    def release(self, holder: str, instance: str, incarnation: int) -> int:
        """Delete the leases of an actor up to that incarnation; a later one's stay. How many there were."""
        return self._database.execute(_DELETE_HELD, (holder, instance, incarnation)).rowcount

    def let_go(self, holder: str, instance: str, incarnation: int, expires_at: int) -> int:
        """The same, but they stay until then: whoever takes one of them has all that it holds."""
        found = self._database.execute(_LET_HELD_GO, (expires_at, holder, instance, incarnation))
        return found.rowcount

    def add(self, namespace: str, identity: str, *resources: Resource) -> bool:
        """Let the lease hold resources; again is no error. Whether it held any of them not yet.

        Raises:
            NotFoundError: the lease does not exist.
            InvalidArgumentError: the type is none of content, ingests, images, snapshots/NAME.
        """
        before = self._database.changes
        with self._database.transaction():
            self.get(namespace, identity)
            for resource in resources:
                _check_resource(resource)
                self._database.execute(
                    "INSERT OR IGNORE INTO lease_resources VALUES (?, ?, ?, ?)",
                    (namespace, identity, resource.type, resource.id),
                )
        return self._database.changes > before

    def remove(self, namespace: str, identity: str, resource: Resource) -> None:
        """Let the lease hold a resource no longer; one that it does not hold is no error. Else as `add`."""
        with self._database.transaction():
            self.get(namespace, identity)
            _check_resource(resource)
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

    def holding(self, kind: str, identities: Collection[str]) -> set[str]:
        """Those of the ids of one type that some lease holds, whatever its namespace."""
        given = "SELECT value FROM json_each(?)"
        sql = f"SELECT DISTINCT id FROM lease_resources WHERE type = ? AND id IN ({given})"  # noqa: S608
        return {row[0] for row in self._database.rows(sql, (kind, json.dumps(list(identities))))}

    def expire(self, now: int) -> int:
        """Delete the leases whose time has come. How many."""
        return self._database.execute("DELETE FROM leases WHERE expires_at <= ?", (now,)).rowcount

    def next_expiry(self) -> int | None:
        """When the next lease expires; None when none will."""
        row = self._database.one("SELECT min(expires_at) FROM leases")
        return None if row is None else row[0]

    def _find(self, namespace: str, identity: str) -> Lease | None:
        row = self._database.one("SELECT * FROM leases WHERE namespace = ? AND id = ?", (namespace, identity))
        return None if row is None else _lease(row)


def _check_resource(resource: Resource) -> None:
    if not _RESOURCE_TYPE.fullmatch(resource.type):
        raise InvalidArgumentError(
            f"lease resource type {resource.type[:80]!a} is not valid: "
            "use content, ingests, images or snapshots/NAME"
        )
    check_text("lease resource", resource.id)


def _lease(row: tuple[Any, ...]) -> Lease:
    namespace, identity, labels, *rest = row
    return Lease(namespace, identity, decode(labels), *rest)
