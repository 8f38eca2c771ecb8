"""Containers: how each is to be run and what state it is to be in.

`wanted` is the durable desired state: after any crash the supervisor reads `list_all` and makes the
containers what it says.
"""

from collections.abc import Callable
from typing import Any

from storage.database import Database
from storage.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from storage.metadata.namespaces import Namespaces
from storage.metadata.records import Container, Json, Labels, NewContainer, Task, Wanted
from storage.metadata.tasks import task_from_row
from storage.names import check_identifier, check_text, decode, encode, encode_labels
from storage.paging import page

_WANTED = frozenset({"running", "stopped", "removed"})
_PREFIX_LENGTH = 3
_CANDIDATES = 5
_COLUMNS = 14

_INSERT = "INSERT INTO containers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_UPDATE = """UPDATE containers SET updated_at = :now, wanted = coalesce(:wanted, wanted),
    labels = coalesce(:labels, labels), options = coalesce(:options, options),
    name = coalesce(:name, name), image = coalesce(:image, image),
    image_digest = coalesce(:image_digest, image_digest),
    snapshot_key = coalesce(:snapshot_key, snapshot_key)
    WHERE namespace = :namespace AND id = :id"""
_RETIRE = "UPDATE containers SET updated_at = ?, wanted = 'removed', name = id WHERE namespace = ? AND id = ?"
_JOINED = """SELECT c.*, t.* FROM containers c
    LEFT JOIN tasks t ON t.namespace = c.namespace AND t.container = c.id
    WHERE (?1 IS NULL OR c.namespace = ?1)"""
_OLDEST_FIRST = f"{_JOINED} ORDER BY c.namespace, c.created_at, c.id"
_PAGE = f"{_JOINED} AND (c.namespace, c.id) > (?2, ?3) ORDER BY c.namespace, c.id"
_USERS = """SELECT c.name FROM containers c
    LEFT JOIN tasks t ON t.namespace = c.namespace AND t.container = c.id
    WHERE c.namespace = ? AND c.image = ?
    AND NOT (coalesce(t.status, '') = 'stopped' AND c.auto_remove AND c.wanted = 'removed')
    ORDER BY c.created_at, c.id"""

Recorded = tuple[Container, Task | None]
"""A container, and its task as far as one has been reported."""


class Containers:
    """The containers table."""

    def __init__(self, database: Database, namespaces: Namespaces, clock: Callable[[], int]) -> None:
        self._database = database
        self._namespaces = namespaces
        self._clock = clock

    def create(self, namespace: str, new: NewContainer) -> Container:
        """Record a container, and its namespace if that is new.

        Raises:
            AlreadyExistsError: the id or the name is another container's id or name here.
            InvalidArgumentError: a field is malformed or too large.
        """
        name = new.name or new.id
        _check(new, name)
        now = self._clock()
        row = (namespace, new.id, name, new.image, new.image_digest, new.runtime, new.snapshotter,
               new.snapshot_key, encode(dict(new.options or {})), encode_labels(new.labels or {}),
               now, now, new.wanted, new.auto_remove)  # fmt: skip
        with self._database.transaction():
            self._namespaces.ensure(namespace)
            self._refuse_taken(namespace, new.id, name)
            self._database.execute(_INSERT, row)
        return self.get(namespace, new.id)

    def _refuse_taken(self, namespace: str, identity: str, name: str) -> None:
        # A name that is another container's id would make every later command ambiguous.
        for wanted, kind in ((identity, "id"), (name, "name")):
            taken = self._exact(namespace, wanted)
            if taken is not None:
                raise AlreadyExistsError(
                    f'container "{wanted}" already exists in namespace "{namespace}" (id {taken.id}, '
                    f"name {taken.name}): remove it or choose another {kind}"
                )

    def _refuse_name_of_another(self, namespace: str, own: Container, name: str) -> None:
        taken = self._exact(namespace, name)
        if taken is not None and taken.id != own.id:
            raise AlreadyExistsError(
                f'container "{name}" already exists in namespace "{namespace}" (id {taken.id}): '
                "remove it or choose another name"
            )

    def get(self, namespace: str, reference: str) -> Container:
        """The container of that id, of that name, or of the one id that begins so (3 characters at least).

        Raises:
            NotFoundError: none; the text says in which other namespace one exists.
            InvalidArgumentError: several ids begin so; the text names them.
        """
        found = self._exact(namespace, reference) or self._by_prefix(namespace, reference)
        if found is None:
            where = self._elsewhere(reference)
            raise NotFoundError(f'container "{reference}" not found in namespace "{namespace}"{where}')
        return found

    def list(self, namespace: str) -> tuple[Container, ...]:
        """The containers of a namespace that have not retired, oldest first."""
        found = self.list_with_tasks(namespace)
        return tuple(container for container, task in found if not is_retired(container, task))

    def users(self, namespace: str, image: str) -> tuple[str, ...]:
        """The names of those that were made from an image and have not retired, oldest first."""
        return tuple(row[0] for row in self._database.rows(_USERS, (namespace, image)))

    def list_all(self) -> tuple[Container, ...]:
        """The containers of every namespace: what the supervisor has to bring about."""
        return tuple(container for container, _ in self.list_with_tasks(None))

    def list_with_tasks(self, namespace: str | None) -> tuple[Recorded, ...]:
        """Containers, each with its last known task; None lists every namespace."""
        return tuple(map(_with_task, self._database.rows(_OLDEST_FIRST, (namespace,))))

    def page(self, namespace: str | None, after: str) -> tuple[tuple[Recorded, ...], str]:
        """Some of them, by namespace and id, and what to go on after; nothing where these are the last."""
        found, more = page(self._database, _PAGE, (namespace, *after.partition(" ")[::2]))
        return tuple(map(_with_task, found)), " ".join(found[-1][:2]) if more else ""

    def update(
        self,
        namespace: str,
        reference: str,
        *,
        name: str | None = None,
        wanted: Wanted | None = None,
        labels: Labels | None = None,
        options: Json | None = None,
        image: str | None = None,
        image_digest: str | None = None,
        snapshot_key: str | None = None,
    ) -> Container:
        """Replace the fields given; None leaves one as it is. Runtime and snapshotter never change."""
        if wanted is not None:
            _check_wanted(wanted)
        if name is not None:
            check_identifier("container name", name)
        for kind, text in (("image", image), ("image digest", image_digest), ("snapshot key", snapshot_key)):
            check_text(kind, text or "", empty=True)
        fields = {
            "now": self._clock(), "name": name, "wanted": wanted,
            "image": image, "image_digest": image_digest,
            "snapshot_key": snapshot_key, "labels": None if labels is None else encode_labels(labels),
            "options": None if options is None else encode(dict(options)), "namespace": namespace,
        }  # fmt: skip
        with self._database.transaction():
            found = self.get(namespace, reference)
            if name is not None:
                self._refuse_name_of_another(namespace, found, name)
            self._database.execute(_UPDATE, {**fields, "id": found.id})
        return self.get(namespace, found.id)

    def retire(self, namespace: str, identity: str) -> None:
        """Free the name of one that removes itself, whose end is on record with the same commit.

        Its record stays, for its actor to clear up by; whoever lists containers asks `is_retired`.
        """
        self._database.execute(_RETIRE, (self._clock(), namespace, identity))

    def delete(self, namespace: str, reference: str) -> Container:
        """Delete the container with its task, and return what it was."""
        with self._database.transaction():
            found = self.get(namespace, reference)
            self._database.execute(
                "DELETE FROM containers WHERE namespace = ? AND id = ?", (namespace, found.id)
            )
        return found

    def _exact(self, namespace: str, reference: str) -> Container | None:
        row = self._database.one(
            "SELECT * FROM containers WHERE namespace = ?1 AND id = ?2 "
            "UNION ALL SELECT * FROM containers WHERE namespace = ?1 AND name = ?2 LIMIT 1",
            (namespace, reference),
        )
        return None if row is None else _container(row)

    def _by_prefix(self, namespace: str, prefix: str) -> Container | None:
        if len(prefix) < _PREFIX_LENGTH:
            return None
        # "~" sorts after every character that an identifier may have.
        rows = self._database.rows(
            "SELECT * FROM containers WHERE namespace = ? AND id > ? AND id < ? ORDER BY id LIMIT ?",
            (namespace, prefix, prefix + "~", _CANDIDATES + 1),
        )
        if len(rows) > 1:
            names = ", ".join(row[1] for row in rows[:_CANDIDATES])
            more = ", ..." if len(rows) > _CANDIDATES else ""
            raise InvalidArgumentError(
                f'container "{prefix}" is ambiguous in namespace "{namespace}": it may be {names}{more}'
            )
        return _container(rows[0]) if rows else None

    def _elsewhere(self, reference: str) -> str:
        row = self._database.one(
            "SELECT namespace FROM containers WHERE id = ?1 "
            "UNION SELECT namespace FROM containers WHERE name = ?1 ORDER BY namespace LIMIT 1",
            (reference,),
        )
        return "" if row is None else f'; exists in namespace "{row[0]}"'


def is_retired(container: Container, task: Task | None) -> bool:
    """Whether it has ended, removes itself, and is only not yet cleared up: gone, but for its own actor."""
    ended = task is not None and task.status == "stopped"
    return ended and container.auto_remove and container.wanted == "removed"


def _check(new: NewContainer, name: str) -> None:
    check_identifier("container id", new.id)
    check_identifier("container name", name)
    _check_wanted(new.wanted)
    texts = (("image", new.image), ("image digest", new.image_digest), ("runtime", new.runtime),
             ("snapshotter", new.snapshotter), ("snapshot key", new.snapshot_key))  # fmt: skip
    for kind, text in texts:
        check_text(kind, text, empty=True)


def _check_wanted(wanted: str) -> None:
    if wanted not in _WANTED:
        raise InvalidArgumentError(f'wanted state "{wanted}" is not valid: use running, stopped or removed')


def _with_task(row: tuple[Any, ...]) -> Recorded:
    task = None if row[_COLUMNS] is None else task_from_row(row[_COLUMNS:])
    return _container(row[:_COLUMNS]), task


def _container(row: tuple[Any, ...]) -> Container:
    values = list(row)
    values[8:10] = decode(row[8]), decode(row[9])
    values[-1] = bool(row[-1])
    return Container(*values)
