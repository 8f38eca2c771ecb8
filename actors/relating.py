"""What an image refers to, told to the collector by labels, before the image gets its name.

Labels are containerd's: a manifest names its config and layers, an index its manifests, a config the snapshot
that its layers unpack to. A name then keeps all that is below it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from actors import messages as m
from storage.collection import labels as gc
from storage.content import ContentStore
from storage.descriptor import Descriptor
from storage.errors import InvalidArgumentError, NotFoundError
from storage.image.chain import chain_ids
from storage.image.config import parse_config
from storage.image.contents import walk
from storage.image.document import MAX_DOCUMENT_SIZE
from storage.image.manifest import Index, Manifest, parse_manifest

SNAPSHOTTERS: Final = ("overlayfs", "native")
RELATE_LIMIT: Final = 60.0  # seconds


class Holding(Protocol):
    """An actor with a lease, as far as a worker thread of it is concerned."""

    @property
    def namespace(self) -> str:
        """Where it works."""

    @property
    def lease(self) -> str:
        """What holds all that it needs, until it ends."""

    def call(self, body: Any, *, to: str = "", limit: float = 30.0) -> Any:
        """Send a request and wait. Raises RemoteError."""


def hold(actor: Holding, *resources: tuple[str, str]) -> None:
    """Hold resources, each a type and an id: before they are looked for. Raises RemoteError."""
    held = [m.LeaseResource(kind, identity) for kind, identity in resources]
    actor.call(m.LeasesAddResource(actor.namespace, actor.lease, held))


def relate(
    actor: Holding, store: ContentStore, root: Descriptor, source: tuple[str, str] | None = None
) -> None:
    """Label all of an image that is here; `source` is the registry and the repository that it came from.

    Raises:
        NotFoundError: something of it was deleted meanwhile.
        InvalidArgumentError: a document of it is malformed.
        RemoteError: it could not be recorded.
    """
    found = image_labels(store, root)
    if source is not None:
        for labels in found.values():
            labels.update(gc.source_label(*source))
    actor.call(m.ContentsMerge(actor.namespace, found, actor.lease), limit=RELATE_LIMIT)
    missing = actor.call(m.ContentMissing(list(found)), limit=RELATE_LIMIT)["missing"]
    if missing:
        raise NotFoundError(f"blob {missing[0]} was deleted meanwhile: try again")


def image_labels(store: ContentStore, root: Descriptor) -> dict[str, dict[str, str]]:
    """Labels for every blob of an image that is in the store, by digest. Raises InvalidArgumentError."""

    def read(descriptor: Descriptor) -> bytes | None:
        if not store.has(descriptor.digest):
            return None
        return store.read(descriptor.digest, MAX_DOCUMENT_SIZE)

    contents = walk(root, read)
    found: dict[str, dict[str, str]] = {
        str(one.digest): {} for one in [root, *contents.blobs()] if store.has(one.digest)
    }
    for document in contents.documents:
        parsed = parse_manifest(read(document) or b"", document.media_type)
        _add(found, str(document.digest), gc.children_labels(_roles(parsed)))
        if isinstance(parsed, Manifest) and parsed.is_image and store.has(parsed.config.digest):
            _add_layers(found, parsed, store)
    return found


def _add(found: dict[str, dict[str, str]], digest: str, labels: Mapping[str, str]) -> None:
    found.setdefault(digest, {}).update(labels)


def _roles(document: Manifest | Index) -> Iterator[tuple[str, str]]:
    if isinstance(document, Index):
        yield from ((f"m.{at}", str(one.digest)) for at, one in enumerate(document.manifests))
    else:
        yield "config", str(document.config.digest)
        yield from ((f"l.{at}", str(one.digest)) for at, one in enumerate(document.layers))


def _add_layers(found: dict[str, dict[str, str]], manifest: Manifest, store: ContentStore) -> None:
    """What the config says: the chain that its layers make, and each layer's digest unpacked."""
    content = store.read(manifest.config.digest, MAX_DOCUMENT_SIZE)
    try:
        diff_ids = parse_config(content, manifest.config.media_type).diff_ids
    except InvalidArgumentError:  # of an image that nobody has asked to unpack
        return
    if not diff_ids:
        return
    top = str(chain_ids(diff_ids)[-1])
    for name in SNAPSHOTTERS:  # whichever it is unpacked by, now or later
        _add(found, str(manifest.config.digest), gc.snapshot_label(name, top))
    if len(diff_ids) == len(manifest.layers):
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
            if str(layer.digest) in found:
                _add(found, str(layer.digest), {gc.UNCOMPRESSED: str(diff_id)})
