"""Several writers of one blob: each comes to its end, and the blob is there."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from actors import keeping
from actors import messages as m
from actors.call import as_remote
from actors.keeping import keep, keep_in_turn
from storage.content import ContentStore, IngestWriter
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.errors import BusyError, StorageError

CONTENT = b"a manifest" * 100
BLOB = Descriptor("application/vnd.oci.image.manifest.v1+json", Digest.of(CONTENT), len(CONTENT))


class Asking:
    """Asks a store where an actor would ask content."""

    kind: ClassVar[str] = "job"
    namespace = "default"
    lease = ""

    def __init__(self, store: ContentStore) -> None:
        self.store = store
        self.commits = 0
        self.before_commit = self.after_open = lambda: None

    def call(self, body: Any, **_: Any) -> Any:
        try:
            return self._answer(body)
        except StorageError as error:
            raise as_remote(error, "content") from error

    def _answer(self, body: Any) -> Any:
        if isinstance(body, m.ContentOpen):
            found = self.store.open_ingest(body.ref, expected=Digest.parse(body.digest), total=body.size)
            self.after_open()
            return {"path": str(found.path), "offset": found.offset}
        self.commits += 1
        self.before_commit()
        self.store.commit(body.ref, Digest.parse(body.digest), body.size, verified=True)
        return {}


@pytest.fixture
def asking(tmp: Path) -> Iterator[Asking]:
    return Asking(ContentStore(tmp / "content"))


def fill(writer: IngestWriter) -> None:
    writer.write(CONTENT)


def test_an_ingest_that_another_one_writes_is_busy_and_nothing_is_asked_of_the_source(asking: Asking):
    path = asking.store.open_ingest(f"blob-{BLOB.digest}", expected=BLOB.digest, total=BLOB.size).path
    with IngestWriter(path, limit=None), pytest.raises(BusyError, match=str(BLOB.digest)):
        keep(asking, BLOB, lambda _: pytest.fail("asked the source"))


def test_one_who_opens_the_ingest_before_it_is_committed_is_waited_for(asking: Asking):
    """They have begun it anew, and write the same."""
    path = asking.store.open_ingest(f"blob-{BLOB.digest}", expected=BLOB.digest, total=BLOB.size).path
    opened, seen = [], threading.Event()

    def interfere() -> None:
        if asking.commits == 1:
            opened.append(IngestWriter(path, limit=None))
            opened[0].start_at(0)
        elif asking.commits == 3:
            fill(opened[0])
            opened[0].finish()
            opened[0].close()
            seen.set()

    asking.before_commit = interfere
    keep(asking, BLOB, fill)
    assert seen.is_set()
    assert asking.commits == 3
    assert asking.store.read(BLOB.digest, BLOB.size) == CONTENT


def test_one_who_commits_it_between_our_question_and_our_writer_has_done_it_for_us(asking: Asking):
    def interfere() -> None:
        asking.after_open = lambda: None
        keep(asking, BLOB, fill)

    asking.after_open = interfere
    keep_in_turn(asking, BLOB, lambda _: pytest.fail("asked the source"))
    assert asking.store.read(BLOB.digest, BLOB.size) == CONTENT


def test_one_who_writes_for_too_long_is_not_waited_for(asking: Asking):
    """Anybody may name a blob, and let its bytes trickle."""
    path = asking.store.open_ingest(f"blob-{BLOB.digest}", expected=BLOB.digest, total=BLOB.size).path
    with IngestWriter(path, limit=None) as other:
        keep(asking, BLOB, fill, beside=True)
        assert asking.store.read(BLOB.digest, BLOB.size) == CONTENT
        fill(other)
        other.finish()
    asking.store.commit(f"blob-{BLOB.digest}", BLOB.digest, BLOB.size, verified=True)
    assert list(asking.store.statuses()) == [], "each ends well"


def test_what_is_written_in_a_moment_waits_for_a_moment(asking: Asking, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keeping, "OTHERS_TURN", 0.0)
    path = asking.store.open_ingest(f"blob-{BLOB.digest}", expected=BLOB.digest, total=BLOB.size).path
    with IngestWriter(path, limit=None):
        keep_in_turn(asking, BLOB, fill)
    assert asking.store.read(BLOB.digest, BLOB.size) == CONTENT


def test_others_are_told_where_the_bytes_come_from(asking: Asking):
    ref, said = f"blob-{BLOB.digest}", []

    def look(writer: IngestWriter) -> None:
        said.append(asking.store.status(ref).source)
        raise InterruptedError

    for source in ("example.org", "", "node h2"):
        with pytest.raises(InterruptedError):
            keep(asking, BLOB, look, source=source)
    assert said == ["example.org", "", "node h2"]


def test_whoever_waits_for_their_turn_may_be_told_to_stop(asking: Asking):
    path = asking.store.open_ingest(f"blob-{BLOB.digest}", expected=BLOB.digest, total=BLOB.size).path

    def stop(_seconds: float) -> None:
        raise InterruptedError

    with IngestWriter(path, limit=None), pytest.raises(InterruptedError):
        keep_in_turn(asking, BLOB, fill, stop)


def ingest(asking: Asking, content: bytes) -> None:
    """What one has left who wrote all of it, and did not come to commit it."""
    path = asking.store.open_ingest(f"blob-{BLOB.digest}", expected=BLOB.digest, total=BLOB.size).path
    with IngestWriter(path, limit=None) as writer:
        writer.write(content)


@pytest.mark.parametrize("media_type", [BLOB.media_type, "application/vnd.oci.image.layer.v1.tar"])
def test_what_somebody_has_written_whole_is_committed_and_not_asked_for_again(
    asking: Asking, media_type: str
):
    ingest(asking, CONTENT)
    keep(asking, replace(BLOB, media_type=media_type), lambda _: pytest.fail("asked the source"))
    assert asking.store.read(BLOB.digest, BLOB.size) == CONTENT


@pytest.mark.parametrize("media_type", [BLOB.media_type, "application/vnd.oci.image.layer.v1.tar"])
def test_what_is_whole_and_wrong_is_begun_anew(asking: Asking, media_type: str):
    """A power cut may leave zeros."""
    ingest(asking, bytes(BLOB.size))
    keep(asking, replace(BLOB, media_type=media_type), fill)
    assert asking.store.read(BLOB.digest, BLOB.size) == CONTENT
