"""Which other nodes this daemon's clients can reach by name: a connection file for each, in a directory."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.content.disk import private_directory, reported
from storage.durable import sync_directory
from storage.errors import InvalidArgumentError, NotFoundError
from storage.names import check_identifier
from transport.keys import check_public, whole, write_private

FIELDS = ("endpoint", "server", "public", "secret", "name", "role", "node")
MAX_ENDPOINT = 256


class NodeBook:
    """The directory. One writes it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def join(self, name: str, connection: Mapping[str, Any]) -> None:
        """Enter a node, or its new address and keys; durable when it returns.

        Raises:
            InvalidArgumentError: name or connection is not one.
            StorageError: it could not be written; then it is not entered.
        """
        check_identifier("node name", name)
        fields = {key: connection.get(key, "") for key in FIELDS}
        if not all(isinstance(value, str) and len(value) <= MAX_ENDPOINT for value in fields.values()):
            raise InvalidArgumentError("a connection has texts of at most 256 characters")
        if not fields["endpoint"].startswith("tcp://"):
            raise InvalidArgumentError(f"endpoint {fields['endpoint'][:80]!a} does not begin with tcp://")
        for key in ("server", "public", "secret"):
            check_public(fields[key])
        with reported(f"enter node {name}"):
            private_directory(self._directory)
            write_private(self._directory / f"{name}.json", fields)

    def leave(self, name: str) -> None:
        """Strike a node. Raises NotFoundError."""
        check_identifier("node name", name)
        try:
            (self._directory / f"{name}.json").unlink()
        except FileNotFoundError:
            raise NotFoundError(f"no node is named {name}: see actr node ls") from None
        sync_directory(self._directory)

    def get(self, name: str) -> dict[str, str]:
        """The connection to a node. Raises NotFoundError."""
        check_identifier("node name", name)
        try:
            found: dict[str, str] = json.loads((self._directory / f"{name}.json").read_text())
        except FileNotFoundError:
            raise NotFoundError(f"no node is named {name}: see actr node ls, actr node join") from None
        return found

    def names(self) -> list[str]:
        """All of them."""
        return sorted(path.stem for path in whole(self._directory))
