"""What is asked of a registry without moving an image: tags, repositories, referrers, a login, a removal."""

import contextlib
from collections.abc import Iterator
from typing import Any

from actors.transfers.transfer import Transfer
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.errors import StorageError
from storage.image.config import parse_config
from storage.image.manifest import Manifest, parse_manifest
from storage.reference import Reference
from transport.registry.errors import BadContentError, InvalidArgumentError

LARGEST_CONFIG = 8 << 20
MOST_REPOSITORIES = 20_000
MOST_TAGS = 100_000
LARGEST_ANSWER = 16 << 20  # bytes, about


class Questions:
    """Asks the registry `host`, most of it about `reference`."""

    def __init__(self, transfer: Transfer, host: str, reference: Reference | None = None) -> None:
        self._transfer = transfer
        self._client = transfer.client
        self._host = host
        self._reference = reference

    @property
    def _asked(self) -> Reference:
        if self._reference is None:
            raise InvalidArgumentError("this question needs an image's name")
        return self._reference

    @property
    def _wanted(self) -> str:
        reference = self._asked
        return str(reference.digest) if reference.digest else reference.tag or "latest"

    def login(self) -> dict[str, Any]:
        """Return if the registry accepts the login. Raises RegistryError."""
        self._transfer.persist(lambda: self._client.ping(self._host))
        return {"host": self._host}

    def catalogue(self) -> dict[str, Any]:
        """The repositories, where the registry tells."""
        found = self._transfer.persist(lambda: self._client.catalog(self._host))
        return {"host": self._host, "repositories": found[:MOST_REPOSITORIES], **self._warnings()}

    def tags(self) -> dict[str, Any]:
        """The tags of the repository."""
        found = self._transfer.persist(lambda: self._client.tags(self._host, self._asked.path))
        return {"name": self._asked.name, "tags": found[:MOST_TAGS], **self._warnings()}

    def describe(self) -> dict[str, Any]:
        """Digest, type, document, and of an image its configuration: what `inspect --remote` prints.

        Both documents are given as the text that they are: a stranger's JSON may be deeper than a message.
        """
        path = self._asked.path
        found = self._transfer.persist(lambda: self._client.fetch_manifest(self._host, path, self._wanted))
        answer: dict[str, Any] = {
            "name": str(self._asked),
            "digest": found.digest,
            "media_type": found.media_type,
            "size": found.size,
            "document": found.body.decode(),
            **self._warnings(),
        }
        document = parse_manifest(found.body, found.media_type)
        if isinstance(document, Manifest) and document.is_image:
            answer["config"] = self._config(document).decode()
        return answer

    def _config(self, manifest: Manifest) -> bytes:
        """The configuration's verified bytes, in memory only."""
        config, path = manifest.config, self._asked.path
        if config.size > LARGEST_CONFIG:
            raise BadContentError(f"configuration {config.digest} has {config.size} bytes, too many here")

        def fetch() -> bytes:
            digest = str(config.digest)
            with self._client.fetch_blob(self._host, path, digest, config.size) as stream:
                return b"".join(stream)

        body: bytes = self._transfer.persist(fetch)
        if Digest.of(body, config.digest.algorithm) != config.digest:
            raise BadContentError(f"configuration {config.digest}: the registry sent other content")
        parse_config(body, config.media_type)
        return body

    def referrers(self) -> dict[str, Any]:
        """What refers to the manifest as its subject: signatures, attestations, lists of parts."""
        path = self._asked.path
        found = self._transfer.persist(lambda: self._client.resolve(self._host, path, self._wanted))
        entries = self._transfer.persist(lambda: self._client.referrers(self._host, path, found.digest))
        known = list(_descriptors(entries))
        return {"name": str(self._asked), "digest": found.digest, "referrers": known, **self._warnings()}

    def delete(self) -> dict[str, Any]:
        """Remove the manifest, or only the tag where the registry can, from the registry.

        Tried once: what was removed twice would be an error the second time.
        """
        destination = self._client.destination(self._host, self._asked.path)
        wanted = self._wanted
        if self._asked.digest is None:
            # A tag alone is not deleted by most registries: its manifest is, and with it all its tags.
            wanted = self._client.resolve(self._host, self._asked.path, wanted).digest
        destination.delete_manifest(wanted)
        return {"name": str(self._asked), "digest": wanted}

    def _warnings(self) -> dict[str, Any]:
        return {"warnings": self._client.warnings}


def _descriptors(entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those entries that are descriptors, without what else they say, as many as a message may hold."""
    size = 0
    for entry in entries:
        with contextlib.suppress(StorageError):
            known = Descriptor.from_dict(entry).to_dict()
            size += len(repr(known))
            if size > LARGEST_ANSWER:
                return
            yield known
