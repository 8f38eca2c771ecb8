"""Bringing blobs and documents of one repository into the store, each at most once, whoever else asks.

The lock of an ingest makes one transfer the fetcher of a blob; the others, of whatever name or namespace,
watch it and take over where it ends if it gives up. What is in the store is not asked for. One who fetches it
from elsewhere is watched only as long as it comes: a registry may name any blob, and let it trickle.
"""

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from actors.keeping import is_kept, keep, keep_in_turn, ref_of
from actors.transfers.arrival import Arrival
from actors.transfers.download import Download
from actors.transfers.peers import Peers
from actors.transfers.transfer import Transfer
from storage.content import IngestWriter
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.errors import BusyError, InvalidArgumentError, NotFoundError
from storage.image.document import MAX_DOCUMENT_SIZE
from storage.image.media_types import FOREIGN_LAYERS
from storage.reference import Reference
from transport.errors import RemoteError
from transport.registry.blob import BlobStream
from transport.registry.endpoint import canonical_host
from transport.registry.errors import BadContentError
from transport.registry.errors import NotFoundError as NotAtRegistryError
from transport.registry.manifest import Manifest, verified

WAIT_FOR_OTHERS = 0.1  # seconds between looks at a blob that another transfer is fetching
PATIENCE = 10.0  # seconds in which one from elsewhere has to bring
LEAST_BYTES = 1 << 20  # so much of it
MOST_URLS = 8


class Watch:
    """How a blob gets on that somebody else is fetching."""

    def __init__(self) -> None:
        self._since = 0.0
        self._offset = -LEAST_BYTES

    def is_in_vain(self, offset: int, now: float) -> bool:
        """Whether too little has come since it was last found to get on; by what is there `now`."""
        if offset - self._offset >= LEAST_BYTES:
            self._since, self._offset = now, offset
        return now - self._since >= PATIENCE


class Fetcher:
    """Fetches from the repository of `reference`; with `node`, what that node calls so, and no registry."""

    def __init__(self, transfer: Transfer, reference: Reference, node: str = "") -> None:
        self._transfer = transfer
        self._reference = reference
        self._host, self._path = reference.domain, reference.path
        self._node = node
        self._source = f"node {node}" if node else self._host
        self._shared = "" if transfer.settings.content_sharing == "shared" else f"{transfer.namespace}/"
        self._peers = Peers(transfer, node)
        self._sources: dict[Digest, set[str]] = {}
        self._resumed: set[Digest] = set()  # which began with what was there
        self._deceived: set[Digest] = set()  # which was wrong for that
        self._repeated: set[Digest] = set()  # which were wrong for no such reason
        self._avoided: set[str] = set()  # endpoints that have sent wrong bytes

    def root(self) -> Descriptor:
        """What the reference stands for right now; its document is in the store."""
        if self._node:
            return self._root_at_node()
        reference, store = self._reference, self._transfer.store
        wanted = str(reference.digest) if reference.digest else reference.tag or "latest"
        found = self._transfer.persist(lambda: self._transfer.client.resolve(self._host, self._path, wanted))
        root = Descriptor(found.media_type, Digest.parse(found.digest), found.size)
        if found.body is None and self._is_here(root):
            body = store.read(root.digest, MAX_DOCUMENT_SIZE)
            # Nobody has compared the registry's type with the document's.
            verified(body, found.media_type, found.digest, None, f"manifest {found.digest}")
            return replace(root, size=len(body))
        body = found.body if found.body is not None else self._manifest(root.digest, None)
        root = replace(root, size=len(body))  # whatever length was stated without it
        self._keep(root, lambda writer: writer.write(body))
        return root

    def _root_at_node(self) -> Descriptor:
        """What the node has under that name."""
        wish = {"namespace": self._transfer.namespace, "name": str(self._reference)}
        peer = self._peers.named()
        found = self._transfer.persist(lambda: peer.ask("images.get", "metadata", wish))
        root = Descriptor.from_dict(found["target"])
        self.document(root)
        return root

    def expect(self, blobs: Iterable[Descriptor]) -> None:
        """Find out which nodes have what is going to be fetched. Raises RemoteError."""
        self._peers.expect(blobs)

    def close(self) -> None:
        """Close the connections to other nodes."""
        self._peers.close()

    def document(self, descriptor: Descriptor) -> bytes:
        """A manifest or index: from the store, or fetched into it."""
        if not self._is_here(descriptor):
            self._fetch_document(descriptor)
        return self._transfer.store.read(descriptor.digest, MAX_DOCUMENT_SIZE)

    def small(self, descriptor: Descriptor, limit: int) -> bytes:
        """A blob of at most `limit` bytes. Raises InvalidArgumentError."""
        if descriptor.size > limit:
            raise InvalidArgumentError(f"blob {descriptor.digest} has {descriptor.size} bytes, too many here")
        self.fetch(descriptor)
        return self._transfer.store.read(descriptor.digest, limit)

    def arrival(self, descriptor: Descriptor) -> Arrival:
        """For `fetch`, to read what it brings while it comes."""
        transfer = self._transfer
        return Arrival(transfer.store, descriptor.digest, descriptor.size, transfer.check)

    def fetch(self, descriptor: Descriptor, arrival: Arrival | None = None) -> None:
        """Until the blob is there, whoever fetches it. Raises RegistryError, StorageError, RemoteError."""
        arrival = arrival or self.arrival(descriptor)
        try:
            self._fetch(descriptor, arrival)
        except Exception as error:
            arrival.end(error)
            raise
        arrival.end()

    def _fetch(self, blob: Descriptor, arrival: Arrival) -> None:
        transfer, watch = self._transfer, Watch()
        while not self._is_here(blob):
            transfer.check()
            alone = blob.digest in self._deceived
            others = not alone and transfer.store.is_being_written(self._ref(blob))
            if others and not self._watch(blob, watch):
                continue
            try:
                fill = partial(self._fill, blob, arrival=arrival)
                keep(transfer.actor, blob, fill, source=self._source, beside=others or alone)
            except (BusyError, NotFoundError):
                transfer.pause(WAIT_FOR_OTHERS)  # somebody was faster, this very moment
            except (InvalidArgumentError, BadContentError, RemoteError) as error:
                if error.code != InvalidArgumentError.code or not self._begins_anew(blob):
                    raise
            else:
                return

    def _begins_anew(self, blob: Descriptor) -> bool:
        """Whether a blob that turned out to be wrong is asked for again: for a reason, or else once."""
        if self._had_bytes_of_others(blob) or self._avoid_sources(blob):
            return True
        first = blob.digest not in self._repeated  # a cache may have served something else for a moment
        self._repeated.add(blob.digest)
        return first

    def _had_bytes_of_others(self, blob: Descriptor) -> bool:
        """Whether what turned out to be wrong, and is gone, had begun with what somebody else had left.

        A loss of power may have torn that, and a registry of somebody else's may have sent anything. From now
        on the blob is fetched where nobody else writes.
        """
        had = blob.digest in self._resumed - self._deceived
        self._deceived |= {blob.digest} if had else set()
        return had

    def _avoid_sources(self, blob: Descriptor) -> bool:
        """Whoever has sent a wrong blob is asked last from now on; whether that leaves anybody to ask first.

        A mirror that is damaged must not keep an image from everybody whose registry has it.
        """
        suspects = self._sources.pop(blob.digest, set()) - self._avoided
        self._avoided |= suspects
        return any(canonical_host(one) != canonical_host(self._host) for one in suspects)

    def _is_here(self, blob: Descriptor) -> bool:
        """A look at the disk, and if that finds it the word of its owner, that it will stay."""
        return self._transfer.store.has(blob.digest) and is_kept(self._transfer.actor, blob)

    def _ref(self, blob: Descriptor) -> str:
        """That of the ingest in the store, which is everybody's unless namespaces are isolated."""
        return self._shared + ref_of(blob)

    def _watch(self, blob: Descriptor, watch: Watch) -> bool:
        """Somebody else is fetching it: their progress is ours. Whether to wait for it no longer.

        From the same source it would come no faster to us.
        """
        transfer = self._transfer
        with contextlib.suppress(NotFoundError):
            found = transfer.store.status(self._ref(blob))
            if watch.is_in_vain(found.offset, time.monotonic()) and found.source != self._source:
                return True
            transfer.moved(str(blob.digest), "downloading", found.offset, blob.size)
        transfer.pause(WAIT_FOR_OTHERS)
        return False

    def _fill(self, blob: Descriptor, writer: IngestWriter, arrival: Arrival) -> None:
        if blob.data is not None:
            writer.start_at(0)
            writer.write(blob.data)
            return
        arrival.began(writer.path)
        if writer.offset or any(writer.path.parent.glob("part-*")):
            self._resumed.add(blob.digest)
        download = Download(self._transfer, blob, writer, arrival)
        try:
            download.run(lambda start, end: self._open(blob, start, end))
        except NotAtRegistryError:
            if not blob.urls or blob.media_type not in FOREIGN_LAYERS:
                raise
            self._fill_from_urls(blob, download, writer)

    def _open(self, blob: Descriptor, start: int, end: int) -> BlobStream:
        stream = self._peers.open(blob, start, end, self._avoided) or self._transfer.client.fetch_blob(
            self._host, self._path, str(blob.digest), blob.size, start, end=end, avoid=self._avoided
        )
        self._sources.setdefault(blob.digest, set()).add(stream.source)
        return stream

    def _fill_from_urls(self, blob: Descriptor, download: Download, writer: IngestWriter) -> None:
        """A layer that may not be distributed names where it is; no login goes there."""
        for url in blob.urls[:MOST_URLS]:
            with contextlib.suppress(NotAtRegistryError):
                download.run(partial(self._open_url, url, blob))
            if writer.offset == blob.size:
                return
        raise NotAtRegistryError(f"blob {blob.digest}: neither the registry nor its addresses have it")

    def _open_url(self, url: str, blob: Descriptor, start: int, _end: int) -> BlobStream:
        return self._transfer.client.fetch_url(url, str(blob.digest), blob.size, start)

    def _fetch_document(self, descriptor: Descriptor) -> None:
        if self._node:
            self.expect([descriptor])
            self.small(descriptor, MAX_DOCUMENT_SIZE)
            return
        body = self._manifest(descriptor.digest, descriptor.media_type)
        self._keep(descriptor, lambda writer: writer.write(body))

    def _manifest(self, digest: Digest, media_type: str | None) -> bytes:
        """A document of the registry, by its digest. Raises RegistryError."""
        client, wanted = self._transfer.client, str(digest)

        def ask() -> Manifest:
            return client.fetch_manifest(self._host, self._path, wanted, media_type)

        found: Manifest
        try:
            found = self._transfer.persist(ask)
        except BadContentError:
            found = self._transfer.persist(ask)  # as for a blob
        return found.body

    def _keep(self, document: Descriptor, fill: Callable[[IngestWriter], object]) -> None:
        """Whoever else writes a document is done in a moment."""
        keep_in_turn(self._transfer.actor, document, fill, self._transfer.pause)
