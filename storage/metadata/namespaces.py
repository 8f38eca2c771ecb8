"""Namespaces: made by the first write into them, deleted only when empty."""

from collections.abc import Iterable, Sequence

from storage.database import Database
from storage.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from storage.metadata.records import Labels, Namespace
from storage.names import check_identifier, decode, encode_labels

# What a namespace may hold, with the query that lists it.
_CONTENTS = (
    ("container", "SELECT id FROM containers WHERE namespace = ? ORDER BY id"),
    ("image", "SELECT name FROM images WHERE namespace = ? ORDER BY name"),
    ("lease", "SELECT id FROM leases WHERE namespace = ? AND holder != '' ORDER BY id"),
    ("blob", "SELECT digest FROM content_labels WHERE namespace = ? ORDER BY digest"),
)
_NAMED = 3


class Namespaces:
    """The namespaces table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> Namespace:
        """The namespace of that name.

        Raises:
            NotFoundError: nothing was ever written into it.
        """
        row = self._database.one("SELECT labels FROM namespaces WHERE name = ?", (name,))
        if row is None:
            raise NotFoundError(f'namespace "{name}" not found')
        return Namespace(name, decode(row[0]))

    def list(self) -> tuple[Namespace, ...]:
        """All namespaces, by name."""
        rows = self._database.rows("SELECT name, labels FROM namespaces ORDER BY name")
        return tuple(Namespace(name, decode(labels)) for name, labels in rows)

    def create(self, name: str, labels: Labels | None = None) -> Namespace:
        """Make a namespace.

        Raises:
            AlreadyExistsError: it exists.
            InvalidArgumentError: the name is not an identifier, or a label is too long.
        """
        encoded = encode_labels(labels or {})
        check_identifier("namespace", name)
        with self._database.transaction():
            if self._exists(name):
                raise AlreadyExistsError(f'namespace "{name}" already exists')
            self._database.execute("INSERT INTO namespaces VALUES (?, ?)", (name, encoded))
        return self.get(name)

    def ensure(self, name: str) -> None:
        """Make the namespace unless it exists; every write of the other tables calls this."""
        check_identifier("namespace", name)
        self._database.execute("INSERT OR IGNORE INTO namespaces VALUES (?, '{}')", (name,))

    def update(self, name: str, labels: Labels) -> Namespace:
        """Replace all labels; the namespace is made if it is new, as by any write."""
        encoded = encode_labels(labels)
        with self._database.transaction():
            self.ensure(name)
            self._database.execute("UPDATE namespaces SET labels = ? WHERE name = ?", (encoded, name))
        return self.get(name)

    def delete(self, name: str, others: Iterable[str] = ()) -> None:
        """Delete an empty namespace. Leases go with it, unless an actor works under them.

        Args:
            name: which.
            others: what else there is in it, as `phrase` makes it, that is on record elsewhere.

        Raises:
            NotFoundError: it does not exist.
            FailedPreconditionError: something is left in it; the text says what.
        """
        with self._database.transaction():
            self.get(name)
            left = (*self.contents(name), *others)
            if left:
                raise FailedPreconditionError(
                    f'namespace "{name}" is not empty: remove {", ".join(left)} first'
                )
            self._database.execute("DELETE FROM leases WHERE namespace = ?", (name,))
            self._database.execute("DELETE FROM namespaces WHERE name = ?", (name,))

    def contents(self, name: str) -> tuple[str, ...]:
        """What is in a namespace, one phrase per kind: "2 containers (a, b)"."""
        found = ((kind, [row[0] for row in self._database.rows(sql, (name,))]) for kind, sql in _CONTENTS)
        return tuple(phrase(kind, names) for kind, names in found if names)

    def _exists(self, name: str) -> bool:
        return self._database.one("SELECT 1 FROM namespaces WHERE name = ?", (name,)) is not None


def phrase(kind: str, names: Sequence[str]) -> str:
    """How many there are, and the first of them: "4 volumes (a, b, c, ...)"."""
    shown = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
    return f"{len(names)} {kind}{'s' if len(names) > 1 else ''} ({shown})"
