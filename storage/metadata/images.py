"""Images: names within a namespace that point at descriptors."""

from collections.abc import Callable
from typing import Any

from storage.database import Database
from storage.errors import AlreadyExistsError, NotFoundError
from storage.metadata.namespaces import Namespaces
from storage.metadata.records import Image, Json, Labels
from storage.names import check_text, decode, encode, encode_labels
from storage.paging import page

_PAGE = "SELECT * FROM images WHERE namespace = ? AND name > ? ORDER BY name"


class Images:
    """The images table."""

    def __init__(self, database: Database, namespaces: Namespaces, clock: Callable[[], int]) -> None:
        self._database = database
        self._namespaces = namespaces
        self._clock = clock

    def get(self, namespace: str, name: str) -> Image:
        """The image of exactly that name.

        Raises:
            NotFoundError: it does not exist here; the text says where else it does.
        """
        image = self._find(namespace, name)
        if image is None:
            raise NotFoundError(f'image "{name}" not found in namespace "{namespace}"{self._elsewhere(name)}')
        return image

    def list(self, namespace: str) -> tuple[Image, ...]:
        """The images of a namespace, by name."""
        rows = self._database.rows("SELECT * FROM images WHERE namespace = ? ORDER BY name", (namespace,))
        return tuple(_image(row) for row in rows)

    def page(self, namespace: str, after: str) -> tuple[tuple[Image, ...], str]:
        """Some of them, by name, and what to go on after; nothing where these are the last."""
        found, more = page(self._database, _PAGE, (namespace, after))
        return tuple(_image(row) for row in found), found[-1][1] if more else ""

    def create(self, namespace: str, name: str, target: Json, labels: Labels | None = None) -> Image:
        """Make an image name.

        Raises:
            AlreadyExistsError: the name is taken; `put` would move it.
        """
        with self._database.transaction():
            if self._find(namespace, name) is not None:
                raise AlreadyExistsError(f'image "{name}" already exists in namespace "{namespace}"')
            return self.put(namespace, name, target, labels)[0]

    def put(
        self, namespace: str, name: str, target: Json, labels: Labels | None = None
    ) -> tuple[Image, bool]:
        """Create the name or point it at another target; True when it was created.

        Labels given replace the old ones; None keeps them.
        """
        check_text("image name", name)
        encoded_target, encoded_labels = encode(dict(target)), encode_labels(labels or {})
        now = self._clock()
        with self._database.transaction():
            self._namespaces.ensure(namespace)
            before = self._find(namespace, name)
            if before is not None and labels is None:
                encoded_labels = encode_labels(before.labels)
            created = now if before is None else before.created_at
            self._database.execute(
                "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?, ?)",
                (namespace, name, encoded_target, encoded_labels, created, now),
            )
        return self.get(namespace, name), before is None

    def delete(self, namespace: str, name: str) -> Image:
        """Delete the name and return what it was; content goes with the next garbage collection."""
        with self._database.transaction():
            image = self.get(namespace, name)
            self._database.execute("DELETE FROM images WHERE namespace = ? AND name = ?", (namespace, name))
        return image

    def _find(self, namespace: str, name: str) -> Image | None:
        row = self._database.one("SELECT * FROM images WHERE namespace = ? AND name = ?", (namespace, name))
        return None if row is None else _image(row)

    def _elsewhere(self, name: str) -> str:
        row = self._database.one(
            "SELECT namespace FROM images WHERE name = ? ORDER BY namespace LIMIT 1", (name,)
        )
        return "" if row is None else f'; exists in namespace "{row[0]}"'


def _image(row: tuple[Any, ...]) -> Image:
    namespace, name, target, labels, created_at, updated_at = row
    return Image(namespace, name, decode(target), decode(labels), created_at, updated_at)
