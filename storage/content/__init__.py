"""The content store: blobs by digest, and the ingests that become blobs.

`ContentStore` belongs to one process, the content actor. Bytes never pass through it: whoever brings them
(a puller, a gateway) opens an `IngestWriter` on the ingest's file and asks the store to commit at the end.

What is visible when: an ingest is visible to `status` from `open_ingest` on, and its bytes to nobody.
Nothing is visible under a digest until `commit` has verified it, made it durable and renamed it into place;
from then on it is visible to everybody, complete, and survives a loss of power.
"""

from storage.content.ingest import Ingest, IngestStatus
from storage.content.reader import VerifiedReader
from storage.content.recovery import Recovery
from storage.content.store import ContentStore, Info
from storage.content.writer import IngestWriter

__all__ = [
    "ContentStore",
    "Info",
    "Ingest",
    "IngestStatus",
    "IngestWriter",
    "Recovery",
    "VerifiedReader",
]
