"""The work of one pull, in worker threads: resolve, fetch what is missing, unpack in order, name.

Every step can be repeated: blobs that are there are not fetched, an ingest goes on at its offset, a layer
that is unpacked is not unpacked again, and one that was half unpacked is begun anew. The name comes last,
when all that it stands for is durable.
"""

import concurrent.futures
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors import __version__, failpoints
from actors import messages as m
from actors.inflight import Progress
from actors.keeping import keep
from actors.unpacking import Unpacker, check_counts
from storage.content import ContentStore, IngestWriter
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.errors import InvalidArgumentError, UnavailableError
from storage.image.config import parse_config
from storage.image.document import MAX_DOCUMENT_SIZE
from storage.image.manifest import Manifest
from storage.image.platform import host_platform, parse_platform
from storage.image.selection import find_manifest
from storage.reference import Reference
from transport.registry.client import RegistryClient
from transport.registry.credentials import DockerConfig
from transport.registry.hosts import Hosts
from transport.registry.retry import persist

if TYPE_CHECKING:
    from actors.puller import PullerActor

AT_ONCE = 3  # layers fetched at the same time
MAX_CONFIG = 8 << 20  # bytes
WAIT_FOR_OTHERS = 0.1  # seconds between looks at a blob that another transfer is fetching


class Transfer:
    """One image from one registry."""

    def __init__(self, actor: "PullerActor", namespace: str, reference: str, platform: str) -> None:
        self._actor = actor
        self._namespace = namespace
        self._reference = Reference.parse(reference)
        self._platform = parse_platform(platform) if platform else host_platform()
        self._store = ContentStore(actor.settings.content)  # to read; the content actor owns it
        self._unpacker = Unpacker(actor, namespace, self._store)
        hosts = actor.settings.registry_hosts
        self._client = RegistryClient(
            Hosts(directories=(Path(hosts),) if hosts else ()),
            DockerConfig(Path("/root/.docker/config.json")),
            f"actord/{__version__}",
        )

    def run(self) -> Any:
        """The whole transfer; returns the image's record.

        Raises:
            RegistryError, StorageError, RemoteError: it failed; what has arrived is kept.
        """
        self._moved(str(self._reference), "resolving")
        failpoints.hit("puller", "resolve", "before")
        root = self._resolve()
        failpoints.hit("puller", "resolve", "after")
        _, manifest = find_manifest(root, self._platform, self._document)
        config = parse_config(self._blob(manifest.config, MAX_CONFIG), manifest.config.media_type)
        check_counts(manifest, config.diff_ids)
        self._layers(manifest, config.diff_ids)
        put = m.ImagesPut(self._namespace, str(self._reference), root.to_dict())
        failpoints.hit("puller", "name", "before")
        image = self._actor.call(put)
        failpoints.hit("puller", "name", "after")
        return image

    def _resolve(self) -> Descriptor:
        reference = self._reference
        wanted = str(reference.digest) if reference.digest else reference.tag or "latest"
        found = persist(lambda: self._client.fetch_manifest(reference.domain, reference.path, wanted))
        root = Descriptor(found.media_type, Digest.parse(found.digest), len(found.body))
        if not self._store.has(root.digest):
            self._keep(root, lambda writer: writer.write(found.body))
        return root

    def _document(self, descriptor: Descriptor) -> bytes:
        """A manifest or index: from the store, or fetched into it."""
        if not self._store.has(descriptor.digest):
            reference = self._reference
            found = persist(
                lambda: self._client.fetch_manifest(
                    reference.domain, reference.path, str(descriptor.digest), descriptor.media_type
                )
            )
            self._keep(descriptor, lambda writer: writer.write(found.body))
        return self._store.read(descriptor.digest, MAX_DOCUMENT_SIZE)

    def _blob(self, descriptor: Descriptor, limit: int) -> bytes:
        if descriptor.size > limit:
            raise InvalidArgumentError(f"blob {descriptor.digest} has {descriptor.size} bytes, too many here")
        self._fetch(descriptor)
        return self._store.read(descriptor.digest, limit)

    def _layers(self, manifest: Manifest, diff_ids: tuple[Digest, ...]) -> None:
        """Fetch several at once; unpack each as soon as it and all below it are there."""
        for layer in manifest.layers:
            self._moved(str(layer.digest), "waiting", 0, layer.size)
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            fetched = {layer.digest: pool.submit(self._fetch, layer) for layer in manifest.layers}
            try:
                self._unpacker.unpack(manifest, diff_ids, lambda layer: fetched[layer.digest].result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _fetch(self, descriptor: Descriptor) -> None:
        """Until the blob is there, whoever fetches it."""
        while not self._store.has(descriptor.digest):
            try:
                self._keep(descriptor, lambda writer: self._download(descriptor, writer))
            except UnavailableError as error:
                if "disk" in str(error):
                    raise
                time.sleep(WAIT_FOR_OTHERS)  # another transfer is writing this very blob

    def _download(self, descriptor: Descriptor, writer: IngestWriter) -> None:
        """From where the ingest ends; a cut connection is no reason to begin again."""
        reference, digest = self._reference, str(descriptor.digest)

        def go_on() -> None:
            with self._client.fetch_blob(
                reference.domain, reference.path, digest, descriptor.size, writer.offset
            ) as stream:
                for chunk in stream:
                    writer.write(chunk)
                    failpoints.hit("puller", "fetch", "chunk")
                    self._moved(digest, "downloading", writer.offset, descriptor.size)

        persist(go_on)

    def _keep(self, descriptor: Descriptor, fill: Callable[[IngestWriter], None]) -> None:
        keep(self._actor, descriptor, fill)

    def _moved(self, ref: str, status: str, offset: int = 0, total: int = 0) -> None:
        self._actor.moved(Progress(ref, status, offset, total))
