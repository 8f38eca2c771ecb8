"""Content: owner of the blobs and ingests under root/content.

States: none beside the directory. Bytes never come through its mailbox: a puller opens the ingest's file
itself and asks for the commit. Restarted by the supervisor, always; the start recovers what a crash left.
"""

from typing import Any

from actors import messages as m
from actors.actor import Actor
from actors.call import Call
from storage.content import ContentStore, Info
from storage.digest import Digest
from storage.errors import NotFoundError

SYNC_LIMIT = 300.0  # seconds that a slow disk may take for a blob


class ContentActor(Actor):
    """One method an operation; see actors/messages/ for what each means."""

    kind = "content"

    def started(self) -> None:
        """Open the store and put right what a crash left."""
        self._store = ContentStore(self.settings.content)
        with self.busy(SYNC_LIMIT):
            self._store.recover()

    def content_open(self, body: m.ContentOpen, _: Call) -> dict[str, Any]:
        """Open or resume an ingest."""
        expected = Digest.parse(body.digest) if body.digest else None
        ingest = self._store.open_ingest(body.ref, expected=expected, total=body.size or None)
        return {"path": str(ingest.path), "offset": ingest.offset}

    def content_commit(self, body: m.ContentCommit, _: Call) -> dict[str, Any]:
        """Make an ingest a blob. Whoever wrote it has hashed it with the store's own writer."""
        with self.busy(SYNC_LIMIT):
            info = self._store.commit(body.ref, Digest.parse(body.digest), body.size, verified=True)
        return self._described(info)

    def content_info(self, body: m.ContentInfo, _: Call) -> dict[str, Any]:
        """One blob."""
        return self._described(self._store.info(Digest.parse(body.digest)))

    def content_list(self, _body: m.ContentList, _: Call) -> dict[str, Any]:
        """All blobs."""
        return {"blobs": [self._described(info) for info in self._store.blobs()]}

    def content_delete(self, body: m.ContentDelete, _: Call) -> None:
        """Delete a blob; doing it twice is fine."""
        try:
            self._store.delete(Digest.parse(body.digest))
        except NotFoundError:
            return

    def _described(self, info: Info) -> dict[str, Any]:
        path = self._store.path(info.digest)
        return {
            "digest": str(info.digest),
            "size": info.size,
            "path": str(path),
            "created_at": int(info.created * 1e9),
        }
