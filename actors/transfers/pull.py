"""Pulling: resolve, fetch what is missing, unpack in order, name.

The name comes last, when all that it stands for is durable.
"""

import concurrent.futures
from typing import Any

from actors import failpoints
from actors import messages as m
from actors.relating import relate
from actors.transfers.arrival import Arrival, ArrivingLayers
from actors.transfers.fetch import Fetcher
from actors.transfers.transfer import Transfer
from actors.unpacking import Unpacker
from storage.descriptor import Descriptor
from storage.errors import NotFoundError
from storage.image.config import parse_config
from storage.image.contents import walk
from storage.image.manifest import Manifest
from storage.image.platform import host_platform, parse_platform
from storage.image.selection import find_manifest
from storage.reference import Reference

MAX_CONFIG = 8 << 20  # bytes


class Pull:
    """One image from one registry.

    `platform` is empty for that of this machine; with `all_platforms` everything is fetched, and what suits
    the platform is unpacked. With `node`, what that node has under the name, and no registry is asked.
    """

    def __init__(
        self,
        transfer: Transfer,
        reference: Reference,
        platform: str = "",
        snapshotter: m.SnapshotterName = "",
        *,
        all_platforms: bool = False,
        node: str = "",
    ) -> None:
        self._transfer = transfer
        self._reference = reference
        self._platform = parse_platform(platform) if platform else host_platform()
        self._all = all_platforms
        self._fetcher = Fetcher(transfer, reference, node)
        self._node = node
        self._unpacker = Unpacker(
            transfer.actor, transfer.namespace, transfer.store, transfer.check, snapshotter
        )

    def run(self) -> Any:
        """The whole transfer; returns the image's record.

        Raises:
            RegistryError, StorageError, RemoteError: it failed; what has arrived is kept.
        """
        try:
            return self._run()
        finally:
            self._fetcher.close()

    def _run(self) -> Any:
        name = str(self._reference)
        self._transfer.moved(name, "resolving")
        failpoints.hit("puller", "resolve", "before")
        root = self._fetcher.root()
        failpoints.hit("puller", "resolve", "after")
        chosen = self._chosen(root)
        if chosen is not None:
            self._take(chosen)
        if self._all:
            self._fetch_the_others(root, chosen)
        source = None if self._node else (self._reference.domain, self._reference.path)
        relate(self._transfer.actor, self._transfer.store, root, source)
        failpoints.hit("puller", "name", "before")
        image = self._transfer.call(m.ImagesPut(self._transfer.namespace, name, root.to_dict()))
        failpoints.hit("puller", "name", "after")
        return {**image, "warnings": self._transfer.client.warnings}

    def _chosen(self, root: Descriptor) -> Manifest | None:
        """The manifest for the platform; None if there is none and all were asked for."""
        try:
            _, manifest = find_manifest(root, self._platform, self._fetcher.document)
        except NotFoundError:
            if not self._all:
                raise
            return None
        return manifest

    def _take(self, manifest: Manifest) -> None:
        """Fetch a manifest's blobs, and unpack an image's layers."""
        self._fetcher.expect(manifest.children())
        if manifest.is_image:
            self._take_image(manifest)
        else:
            self._fetch_all(manifest.children())

    def _fetch_the_others(self, root: Descriptor, chosen: Manifest | None) -> None:
        for part in walk(root, self._fetcher.document).parts:
            if part.manifest != chosen:
                self._fetcher.expect(part.manifest.children())
                self._fetch_all(part.manifest.children())

    def _fetch_all(self, blobs: list[Descriptor]) -> None:
        with self._transfer.several() as pool:
            for fetched in [pool.submit(self._fetch_only, blob) for blob in blobs]:
                fetched.result()

    def _fetch_only(self, blob: Descriptor) -> None:
        self._fetcher.fetch(blob)
        self._transfer.moved(str(blob.digest), "done", blob.size, blob.size)

    def _take_image(self, manifest: Manifest) -> None:
        """Fetch several layers at once, and what they are meanwhile; unpack each as it arrives."""
        self._unpacker.check(manifest)
        for layer in manifest.layers:
            self._transfer.moved(str(layer.digest), "waiting", 0, layer.size)
        with self._transfer.several() as pool:
            distinct = {layer.digest: layer for layer in manifest.layers}  # one may occur twice
            arrivals = {digest: self._begin(pool, layer) for digest, layer in distinct.items()}
            content = self._fetcher.small(manifest.config, MAX_CONFIG)
            config = parse_config(content, manifest.config.media_type)
            self._unpacker.unpack(manifest, config.diff_ids, ArrivingLayers(arrivals))

    def _begin(self, pool: concurrent.futures.ThreadPoolExecutor, layer: Descriptor) -> Arrival:
        arrival = self._fetcher.arrival(layer)
        pool.submit(self._fetcher.fetch, layer, arrival)
        return arrival
