"""Where the bytes of layers come from: the store, or a transfer that is still bringing them."""

from contextlib import AbstractContextManager
from typing import Protocol

from storage.content import ContentStore
from storage.descriptor import Descriptor
from storage.layer.compression import Readable


class Layers(Protocol):
    """Where the bytes of layers come from, when that is not the store."""

    def open(self, layer: Descriptor) -> AbstractContextManager[Readable]:
        """The blob from its first byte on; it may still be arriving, and nobody has verified it."""

    def settle(self, layer: Descriptor) -> None:
        """Return once the blob is in the store, verified. Raises what kept it from coming."""

    def taken(self, layer: Descriptor) -> int:
        """How many bytes of it were read, once it has arrived; 0 before."""

    def renewed(self, layer: Descriptor) -> bool:
        """Whether what was read first turned out wrong, and the blob that is in the store came after it."""


class StoredLayers:
    """Layers whose blobs are in the store."""

    def __init__(self, store: ContentStore) -> None:
        self._store = store

    def open(self, layer: Descriptor) -> AbstractContextManager[Readable]:
        """The blob."""
        return self._store.open(layer.digest)

    def settle(self, layer: Descriptor) -> None:
        """It is there."""

    def taken(self, layer: Descriptor) -> int:
        """Nobody counts."""
        del layer
        return 0

    def renewed(self, layer: Descriptor) -> bool:
        """What is in the store is right."""
        del layer
        return False
