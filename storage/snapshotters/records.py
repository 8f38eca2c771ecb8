"""The records of a snapshotter: one SQLite file beside its directories, `metadata.db`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from storage.database import Database
from storage.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from storage.names import check_identifier, check_text, decode, encode_labels
from storage.paging import page
from storage.snapshotters.contract import Kind, Snapshot, Usage

# AUTOINCREMENT: an id names a directory, and a removed one may still be on its way out.
_FIRST = """
CREATE TABLE snapshots (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    parent INTEGER REFERENCES snapshots(id),
    kind TEXT NOT NULL CHECK (kind IN ('active', 'committed', 'view')),
    labels TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    inodes INTEGER,
    size INTEGER,
    UNIQUE (namespace, key)
);
CREATE INDEX snapshots_by_parent ON snapshots(parent);
"""
MIGRATIONS: Final = (_FIRST,)
_SELECT = """SELECT s.id, s.namespace, s.key, p.key, s.kind, s.labels, s.created_at, s.updated_at, s.inodes,
    s.size FROM snapshots s LEFT JOIN snapshots p ON p.id = s.parent"""
_CHAIN = """WITH RECURSIVE chain(id, depth) AS (
    SELECT parent, 1 FROM snapshots WHERE id = ?
    UNION ALL SELECT s.parent, depth + 1 FROM snapshots s JOIN chain c ON s.id = c.id)
    SELECT id FROM chain WHERE id IS NOT NULL ORDER BY depth"""
_DEPTH = """WITH RECURSIVE depths(id, depth) AS (
    SELECT id, 0 FROM snapshots WHERE parent IS NULL
    UNION ALL SELECT s.id, depth + 1 FROM snapshots s JOIN depths d ON s.parent = d.id)"""
_IN_ORDER = "ORDER BY d.depth, s.id"
_DESCENDANTS = """WITH RECURSIVE tree(id, depth) AS (
    SELECT id, 0 FROM snapshots WHERE id = ?
    UNION ALL SELECT s.id, depth + 1 FROM snapshots s JOIN tree t ON s.parent = t.id)
    SELECT s.id, s.namespace, s.key, s.kind FROM tree t JOIN snapshots s ON s.id = t.id
    ORDER BY t.depth DESC"""
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Record:
    """A snapshot with what only the snapshotter needs: its id, and its usage once committed."""

    id: int
    snapshot: Snapshot
    usage: Usage | None


class Records:
    """The snapshots table; `clock` gives nanoseconds since the epoch."""

    def __init__(self, path: Path, clock: Callable[[], int], *, reader: bool = False) -> None:
        self.database = Database(path, MIGRATIONS, reader=reader)
        self._clock = clock

    def get(self, namespace: str, key: str) -> Record:
        """The record of a key or name.

        Raises:
            NotFoundError: there is none; the text says where else there is.
        """
        row = self.database.one(f"{_SELECT} WHERE s.namespace = ? AND s.key = ?", (namespace, key))
        if row is None:
            where = self._elsewhere(key)
            raise NotFoundError(f'snapshot "{key}" not found in namespace "{namespace}"{where}')
        return _record(row)

    def list(self, namespace: str | None) -> tuple[Snapshot, ...]:
        """The snapshots of a namespace or of all, parents first, then in the order of their making."""
        where = "WHERE ?1 IS NULL OR s.namespace = ?1"
        sql = f"{_DEPTH} {_SELECT} JOIN depths d ON d.id = s.id {where} {_IN_ORDER}"
        return tuple(_record(row).snapshot for row in self.database.rows(sql, (namespace,)))

    def page(self, namespace: str | None, after: int) -> tuple[tuple[Snapshot, ...], int]:
        """Some of them, in the order of their making, and what to go on after; 0 where these are the last."""
        sql = f"{_SELECT} WHERE s.id > ?2 AND (?1 IS NULL OR s.namespace = ?1) ORDER BY s.id"
        found, more = page(self.database, sql, (namespace, after))
        return tuple(_record(row).snapshot for row in found), found[-1][0] if more else 0

    def ids(self) -> dict[int, Kind]:
        """Every id with its kind."""
        return dict(self.database.rows("SELECT id, kind FROM snapshots"))

    def has(self, identity: int) -> bool:
        """Whether there is a record of that id."""
        return self.database.one("SELECT 1 FROM snapshots WHERE id = ?", (identity,)) is not None

    def chain(self, identity: int) -> tuple[int, ...]:
        """The ids of the parents, nearest first."""
        return tuple(row[0] for row in self.database.rows(_CHAIN, (identity,)))

    def insert(
        self, namespace: str, key: str, parent: str, kind: Kind, labels: Mapping[str, str] | None
    ) -> Record:
        """Add an active snapshot or a view. Errors as in `Snapshotter.prepare`."""
        check_identifier("namespace", namespace)
        check_text("snapshot key", key)
        encoded, now = encode_labels(labels or {}), self._clock()
        self._refuse_taken(namespace, key)
        parent_id = self._committed(namespace, parent) if parent else None
        self.database.execute(
            "INSERT INTO snapshots (namespace, key, parent, kind, labels, created_at, updated_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (namespace, key, parent_id, kind, encoded, now, now),
        )
        return self.get(namespace, key)

    def commit(self, record: Record, name: str, labels: Mapping[str, str], usage: Usage) -> None:
        """Give an active snapshot its name.

        Raises:
            AlreadyExistsError: the name is taken.
        """
        check_text("snapshot name", name)
        encoded, now = encode_labels(labels), self._clock()
        if name != record.snapshot.key:
            self._refuse_taken(record.snapshot.namespace, name)
        self.database.execute(
            "UPDATE snapshots SET key = ?, kind = 'committed', labels = ?, updated_at = ?, inodes = ?, "
            "size = ? WHERE id = ?",
            (name, encoded, now, usage.inodes, usage.size, record.id),
        )

    def rebase(self, record: Record, parent: str) -> None:
        """Set the parent. Errors as for that of `insert`."""
        parent_id = self._committed(record.snapshot.namespace, parent)
        self.database.execute("UPDATE snapshots SET parent = ? WHERE id = ?", (parent_id, record.id))

    def labels(self, identity: int) -> dict[str, str]:
        """The labels of an id that exists."""
        row = self.database.one("SELECT labels FROM snapshots WHERE id = ?", (identity,))
        found: dict[str, str] = decode(row[0]) if row else {}
        return found

    def update(self, record: Record, labels: Mapping[str, str]) -> None:
        """Replace the labels."""
        self.database.execute(
            "UPDATE snapshots SET labels = ?, updated_at = ? WHERE id = ?",
            (encode_labels(labels), self._clock(), record.id),
        )

    def delete(self, record: Record) -> None:
        """Delete a record that is no parent.

        Raises:
            FailedPreconditionError: it has children.
        """
        children = self.database.rows(
            "SELECT key FROM snapshots WHERE parent = ? ORDER BY key LIMIT ?", (record.id, _NAMED + 1)
        )
        if children:
            names = ", ".join(row[0] for row in children[:_NAMED])
            more = ", ..." if len(children) > _NAMED else ""
            raise FailedPreconditionError(
                f'snapshot "{record.snapshot.key}" has children: remove {names}{more} first'
            )
        self.database.execute("DELETE FROM snapshots WHERE id = ?", (record.id,))

    def delete_with_children(self, identities: Iterable[int]) -> tuple[tuple[str, str], ...]:
        """Delete committed records and all committed ones that descend from them; children come first.

        A tree in which somebody writes is left alone: what was written there exists nowhere else. Gives
        namespace and key of each that is gone.
        """
        gone: list[tuple[str, str]] = []
        for identity in identities:
            tree = self.database.rows(_DESCENDANTS, (identity,))
            if any(kind != "committed" for *_, kind in tree):
                continue
            for row, namespace, key, _ in tree:
                self.database.execute("DELETE FROM snapshots WHERE id = ?", (row,))
                gone.append((namespace, key))
        return tuple(gone)

    def _committed(self, namespace: str, parent: str) -> int:
        record = self.get(namespace, parent)
        if record.snapshot.kind != "committed":
            raise InvalidArgumentError(f'snapshot "{parent}" is not committed: it cannot be a parent')
        return record.id

    def _refuse_taken(self, namespace: str, key: str) -> None:
        sql = "SELECT 1 FROM snapshots WHERE namespace = ? AND key = ?"
        if self.database.one(sql, (namespace, key)) is not None:
            raise AlreadyExistsError(f'snapshot "{key}" already exists in namespace "{namespace}"')

    def _elsewhere(self, key: str) -> str:
        sql = "SELECT namespace FROM snapshots WHERE key = ? ORDER BY namespace LIMIT 1"
        row = self.database.one(sql, (key,))
        return "" if row is None else f'; exists in namespace "{row[0]}"'


def _record(row: tuple[Any, ...]) -> Record:
    identity, namespace, key, parent, kind, labels, created_at, updated_at, inodes, size = row
    snapshot = Snapshot(namespace, key, parent or "", kind, decode(labels), created_at, updated_at)
    return Record(identity, snapshot, None if inodes is None else Usage(inodes, size))
