"""Where the bytes of layers come from: the store, or a transfer that is still bringing them."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import BinaryIO, Final, Protocol

from storage.content import ContentStore
from storage.descriptor import Descriptor
from storage.digest import Digest

PIECE_BYTES: Final = 256 << 10


class Pourable(Protocol):
    """A blob whose bytes go to another process without passing through our memory."""

    def pour(self, pipe: int, /) -> int:
        """Move some of its next bytes into a pipe, as soon as there are any. How many; 0 only at the end."""


class StoredBlob:
    """One that is in the store."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def pour(self, pipe: int, /) -> int:
        """Its pages, as the page cache has them."""
        return os.splice(self._file.fileno(), pipe, PIECE_BYTES)


@contextmanager
def stored(store: ContentStore, digest: Digest) -> Iterator[StoredBlob]:
    """A blob that is open for the block. NotFoundError."""
    with store.open(digest) as file:
        yield StoredBlob(file)


class Layers(Protocol):
    """Where the bytes of layers come from, when that is not the store."""

    def open(self, layer: Descriptor) -> AbstractContextManager[Pourable]:
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

    def open(self, layer: Descriptor) -> AbstractContextManager[StoredBlob]:
        """The blob."""
        return stored(self._store, layer.digest)

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
