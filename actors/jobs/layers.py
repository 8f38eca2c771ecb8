"""Layers that a job makes: hashed before they are compressed, stored as they come."""

import hashlib
from collections.abc import Callable
from typing import Final

from actors.jobs.context import Context
from storage.archive.docker import LAYER_TYPES
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.layer.compress import compressed
from storage.layer.compression import READ_BYTES, Readable, open_blob
from storage.layer.limits import Limits

TYPES: Final = {**LAYER_TYPES, "none": LAYER_TYPES[""]}


def make_layer(
    context: Context, what: str, compression: str, produce: Callable[[Callable[[bytes], object]], object]
) -> tuple[Descriptor, Digest]:
    """Store what `produce` writes, compressed; the blob and the diff ID."""
    hasher = hashlib.sha256()

    def store(write: Callable[[bytes], None]) -> None:
        with compressed(compression, write) as pack:

            def put(data: bytes) -> None:
                hasher.update(data)
                pack(data)

            produce(put)

    media_type = TYPES.get(compression, "")
    blob = context.keep_unknown(what, context.limits.total_bytes, media_type, store)
    return blob, Digest.parse(f"sha256:{hasher.hexdigest()}")


def copy_plain(source: Readable, put: Callable[[bytes], object], limits: Limits) -> None:
    """Uncompress a layer."""
    plain = open_blob(source, limits)
    while data := plain.read(READ_BYTES):
        put(data)
