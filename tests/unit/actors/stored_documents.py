"""Documents of images in a content store of a test's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from storage.content import IngestWriter
from storage.descriptor import Descriptor
from storage.digest import Digest

if TYPE_CHECKING:
    from storage.content import ContentStore


def stored(store: ContentStore, content: bytes, media_type: str) -> dict[str, Any]:
    """Keep these bytes; their descriptor."""
    digest = Digest.of(content)
    ingest = store.open_ingest("x", expected=digest, total=len(content))
    with IngestWriter(ingest.path, limit=None) as writer:
        writer.write(content)
        writer.finish()
    store.commit("x", digest, len(content), verified=True)
    return Descriptor(media_type, digest, len(content)).to_dict()


def stored_document(store: ContentStore, document: Any, media_type: str) -> dict[str, Any]:
    """As `stored`, of what JSON can say."""
    return stored(store, json.dumps(document).encode(), media_type)
