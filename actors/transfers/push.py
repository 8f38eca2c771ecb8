"""Pushing what is in the store to a registry, and copying from one registry to another.

What a repository has is not sent; what another repository of the same registry has is mounted from there; of
the rest several blobs go up at a time. Manifests follow what they refer to, the one with the name comes last.
A crash leaves blobs at the registry that the next attempt finds there.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from actors import failpoints
from actors import messages as m
from actors.relating import hold
from actors.transfers.fetch import Fetcher
from actors.transfers.transfer import Transfer
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.errors import InvalidArgumentError, NotFoundError, StorageError
from storage.image.contents import Contents, Part, walk
from storage.image.document import MAX_DOCUMENT_SIZE
from storage.image.manifest import Index, Manifest, parse_manifest
from storage.image.media_types import FOREIGN_LAYERS, OCI_INDEX
from storage.image.platform import Platform, host_platform, parse_platform
from storage.image.selection import find_manifest
from storage.reference import Reference
from transport.registry.errors import NotFoundError as NotAtRegistryError
from transport.registry.listing import fallback_tag
from transport.registry.push import Destination

PIECE = 256 << 10
MOST_IMAGES = 200  # looked through for blobs that can be mounted


class Push:
    """An image of the store, to the repository and tag of `target`.

    With `platform` only that platform's manifest; without, everything, or, if only a part of an index is
    here, the manifest for this machine. `chunk` is the bytes per request, 0 for a blob in one.
    """

    def __init__(
        self, transfer: Transfer, source: Reference, target: Reference, platform: str = "", *, chunk: int = 0
    ) -> None:
        self._transfer = transfer
        self._source = source
        self._target = target
        self._wanted = parse_platform(platform) if platform else None
        self._chunk = chunk or None

    def run(self) -> dict[str, Any]:
        """The whole transfer; answers with name and digest of what was pushed.

        Raises:
            RegistryError, StorageError, RemoteError: it failed; what has been sent stays at the registry.
        """
        self._transfer.moved(str(self._target), "resolving")
        root = self._root()
        contents, note = self._contents(root)
        destination = self._transfer.client.destination(self._target.domain, self._target.path)
        self._send_blobs(destination, contents.parts)
        self._send_documents(destination, contents)
        warnings = self._transfer.client.warnings + ([note] if note else [])
        return {"name": str(self._target), "digest": str(contents.root.digest), "warnings": warnings}

    def _root(self) -> Descriptor:
        image = self._transfer.call(m.ImagesGet(self._transfer.namespace, str(self._source)))
        root = Descriptor.from_dict(image["target"])
        hold(self._transfer.actor, ("content", str(root.digest)))  # should the name go while we read
        return root

    def _read(self, descriptor: Descriptor) -> bytes:
        return self._transfer.store.read(descriptor.digest, MAX_DOCUMENT_SIZE)

    def _contents(self, root: Descriptor) -> tuple[Contents, str]:
        """What to push, and what is to be said about it."""
        if self._wanted is not None:
            return self._one_platform(root, self._wanted), ""
        contents = walk(root, self._read_if_here)
        if not contents.absent and all(self._is_here(blob) for blob in _blobs(contents.parts)):
            return contents, ""
        mine = host_platform()
        contents = self._one_platform(root, mine)
        note = (
            f"only the image for {mine} is pushed, since others are not here; "
            "to push all: actr pull --all-platforms first"
        )
        return contents, "" if contents.root.digest == root.digest else note

    def _read_if_here(self, descriptor: Descriptor) -> bytes | None:
        try:
            return self._read(descriptor)
        except NotFoundError:
            return None

    def _one_platform(self, root: Descriptor, platform: Platform) -> Contents:
        descriptor, _ = find_manifest(root, platform, self._read)
        return walk(descriptor, self._read)

    def _is_here(self, blob: Descriptor) -> bool:
        return self._transfer.store.has(blob.digest)

    def _send_blobs(self, destination: Destination, parts: list[Part]) -> None:
        blobs = {blob.digest: blob for blob in _blobs(parts)}
        elsewhere = self._other_repositories(set(blobs))
        for blob in blobs.values():
            self._transfer.moved(str(blob.digest), "waiting", 0, blob.size)
        with self._transfer.several() as pool:
            sent = [
                pool.submit(self._send_blob, destination, blob, elsewhere.get(blob.digest))
                for blob in blobs.values()
            ]
            for one in sent:
                one.result()

    def _send_blob(self, destination: Destination, blob: Descriptor, elsewhere: str | None) -> None:
        digest, transfer = str(blob.digest), self._transfer
        if transfer.persist(lambda: destination.has_blob(digest)):
            transfer.moved(digest, "present", blob.size, blob.size)
            return
        failpoints.hit("puller", "push", "blob")
        sent = transfer.persist(
            lambda: destination.put_blob(
                digest, blob.size, self._content(blob), mount_from=elsewhere, chunk=self._chunk
            )
        )
        transfer.moved(digest, "done" if sent else "mounted", blob.size, blob.size)

    def _content(self, blob: Descriptor) -> Callable[[int], Iterator[bytes]]:
        """Gives the blob's bytes from an offset on."""

        def pieces(offset: int) -> Iterator[bytes]:
            with self._transfer.store.open(blob.digest) as file:
                file.seek(offset)
                while piece := file.read(PIECE):
                    offset += len(piece)
                    self._transfer.throttle(len(piece))
                    self._transfer.moved(str(blob.digest), "uploading", offset, blob.size)
                    yield piece

        return pieces

    def _send_documents(self, destination: Destination, contents: Contents) -> None:
        """All manifests, then the indexes from the innermost out; the named one, the root, comes last."""
        manifests = [part.descriptor for part in contents.parts]
        indexes = [one for one in reversed(contents.documents) if one not in manifests]
        for descriptor in [one for one in manifests + indexes if one != contents.root]:
            self._send_document(destination, str(descriptor.digest), descriptor)
        failpoints.hit("puller", "push", "name")
        self._send_document(destination, self._target.tag or str(contents.root.digest), contents.root)

    def _send_document(self, destination: Destination, reference: str, descriptor: Descriptor) -> None:
        body = self._read(descriptor)
        put = self._transfer.persist(lambda: destination.put_manifest(reference, descriptor.media_type, body))
        document = parse_manifest(body, descriptor.media_type)
        if document.subject is not None and put.subject is None:
            self._tag_referrer(destination, document.subject.digest, descriptor, document)

    def _tag_referrer(
        self, destination: Destination, subject: Digest, descriptor: Descriptor, document: Manifest | Index
    ) -> None:
        """The registry has no referrers API: keep the list under a tag, as the specification has it."""
        tag = fallback_tag(str(subject))
        index = self._referrers(tag)
        if any(entry["digest"] == str(descriptor.digest) for entry in index["manifests"]):
            return
        kind = document.artifact_type or (
            document.config.media_type if isinstance(document, Manifest) else None
        )
        entry = {**descriptor.to_dict(), "artifactType": kind, "annotations": dict(document.annotations)}
        index["manifests"].append({key: value for key, value in entry.items() if value})
        body = json.dumps(index).encode()
        self._transfer.persist(lambda: destination.put_manifest(tag, OCI_INDEX, body))

    def _referrers(self, tag: str) -> dict[str, Any]:
        """The list that the registry has under a tag, or a new one; what is no list is not replaced."""
        target, client = self._target, self._transfer.client
        try:
            found = self._transfer.persist(lambda: client.fetch_manifest(target.domain, target.path, tag))
        except NotAtRegistryError:
            return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
        try:
            known = parse_manifest(found.body, found.media_type)
        except InvalidArgumentError as error:
            raise _no_list(tag, target, str(error)) from error
        if not isinstance(known, Index):
            raise _no_list(tag, target, "it is a manifest")
        index: dict[str, Any] = json.loads(found.body)
        return {**index, "manifests": index["manifests"] or []}

    def _other_repositories(self, wanted: set[Digest]) -> Mapping[Digest, str]:
        """For each blob a repository of the same registry that should have it: an image came from there."""
        found: dict[Digest, str] = {}
        images = self._transfer.call(m.ImagesList(self._transfer.namespace, page=True))["images"]
        for image in images[:MOST_IMAGES]:
            with suppress(StorageError):  # a name that is no reference, a document that is damaged
                reference = Reference.parse(image["name"])
                if reference.domain != self._target.domain or reference.path == self._target.path:
                    continue
                parts = walk(Descriptor.from_dict(image["target"]), self._read_if_here).parts
                found |= {blob.digest: reference.path for blob in _blobs(parts) if blob.digest in wanted}
        return found


class Copy(Push):
    """From one registry to another, by way of the store, without unpacking or naming anything here."""

    def __init__(self, transfer: Transfer, source: Reference, target: Reference, platform: str = "") -> None:
        super().__init__(transfer, source, target, platform)
        self._fetcher = Fetcher(transfer, source)

    def _root(self) -> Descriptor:
        return self._fetcher.root()

    def _read(self, descriptor: Descriptor) -> bytes:
        return self._fetcher.document(descriptor)

    def _is_here(self, blob: Descriptor) -> bool:
        """Or it will be, when it is wanted."""
        return blob.digest.verifiable

    def _content(self, blob: Descriptor) -> Callable[[int], Iterator[bytes]]:
        """A blob is fetched when the destination turns out to lack it, and not before."""
        stored = super()._content(blob)

        def pieces(offset: int) -> Iterator[bytes]:
            self._fetcher.fetch(blob)
            yield from stored(offset)

        return pieces

    def _other_repositories(self, wanted: set[Digest]) -> Mapping[Digest, str]:
        same = self._source.domain == self._target.domain and self._source.path != self._target.path
        return dict.fromkeys(wanted, self._source.path) if same else {}


def _no_list(tag: str, target: Reference, reason: str) -> InvalidArgumentError:
    text = f"tag {tag} of {target.name} holds no list of referrers ({reason}): delete it there"
    return InvalidArgumentError(text)


def _blobs(parts: Iterable[Part]) -> Iterator[Descriptor]:
    """Configurations and layers; not those whose licence keeps them where they are."""
    for part in parts:
        yield from (blob for blob in part.manifest.children() if blob.media_type not in FOREIGN_LAYERS)
