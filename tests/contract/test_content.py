"""What any content store must do. A new implementation is one more name in `STORES`."""

import os
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.content import ContentStore, IngestWriter
from storage.digest import Digest
from storage.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    StorageError,
    UnavailableError,
)

CONTENT = b"some layer" * 1000
DIGEST = Digest.of(CONTENT)
SIZE = len(CONTENT)
STORES = {"directory": lambda path: ContentStore(path / "content")}


@pytest.fixture(params=STORES)
def store(request, tmp_path):
    return STORES[request.param](tmp_path)


def put(store, content, ref="r"):
    with IngestWriter(store.open_ingest(ref).path, limit=None) as writer:
        writer.write(content)
        digest = writer.finish()
    return store.commit(ref, digest, len(content), verified=True)


def write_some(store, content, ref="r", **rest):
    with IngestWriter(store.open_ingest(ref, **rest).path, limit=None) as writer:
        writer.write(content)


def refs(store):
    return {status.ref for status in store.statuses()}


def test_an_empty_store_has_nothing(store):
    assert list(store.blobs()) == []
    assert refs(store) == set()
    assert not store.has(DIGEST)


def test_a_reader_reads_and_makes_nothing(tmp_path):
    place = tmp_path / "content"
    reader = ContentStore(place, reader=True)
    assert not reader.has(DIGEST)
    assert not place.exists()
    put(ContentStore(place), CONTENT)
    assert reader.read(DIGEST, SIZE) == CONTENT


def test_a_blob_comes_back_as_it_went_in(store):
    before = time.time()
    info = put(store, CONTENT)
    assert (info.digest, info.size) == (DIGEST, SIZE)
    assert before - 60 < info.created <= info.updated + 1
    assert store.info(DIGEST) == info
    assert [blob.digest for blob in store.blobs()] == [DIGEST]
    assert store.path(DIGEST).read_bytes() == CONTENT
    assert store.read(DIGEST, SIZE) == CONTENT
    with store.open(DIGEST) as plain, store.open(DIGEST, verified=True) as checked:
        assert plain.read() == checked.read() == CONTENT


def test_an_empty_blob_is_a_blob(store):
    put(store, b"")
    assert store.read(Digest.of(b""), 0) == b""


def test_sha512_works_the_same(store):
    digest = Digest.of(CONTENT, "sha512")
    with IngestWriter(store.open_ingest("r").path, limit=None, algorithm="sha512") as writer:
        writer.write(CONTENT)
        assert writer.finish() == digest
    store.commit("r", digest, SIZE, verified=True)
    assert store.read(digest, SIZE) == CONTENT
    assert [blob.digest for blob in store.blobs()] == [digest]


def test_nothing_is_visible_before_the_commit(store):
    write_some(store, CONTENT, expected=DIGEST, total=SIZE)
    assert not store.has(DIGEST)
    assert list(store.blobs()) == []
    for look in (store.info, store.open, store.delete, lambda digest: store.read(digest, SIZE)):
        with pytest.raises(NotFoundError, match=str(DIGEST)):
            look(DIGEST)


def test_the_ingest_ends_with_the_commit(store):
    put(store, CONTENT)
    assert refs(store) == set()
    with pytest.raises(NotFoundError):
        store.status("r")


def test_status_tells_how_far_an_ingest_is(store):
    before = time.time()
    write_some(store, b"12345", expected=DIGEST, total=SIZE)
    status = store.status("r")
    assert (status.ref, status.offset, status.total, status.expected) == ("r", 5, SIZE, DIGEST)
    assert before - 60 < status.started <= status.updated + 1
    assert list(store.statuses()) == [status]


def test_an_ingest_is_resumed_where_it_stopped(store):
    write_some(store, CONTENT[:4000], expected=DIGEST, total=SIZE)
    ingest = store.open_ingest("r", expected=DIGEST, total=SIZE)
    assert ingest.offset == 4000
    with IngestWriter(ingest.path, limit=SIZE) as writer:
        writer.start_at(4000)
        writer.write(CONTENT[4000:])
        assert writer.offset == SIZE
        assert writer.finish() == DIGEST
    store.commit("r", DIGEST, SIZE, verified=True)
    assert store.read(DIGEST, SIZE) == CONTENT


def test_a_source_that_cannot_resume_starts_at_0(store):
    write_some(store, b"rubbish that is dropped")
    with IngestWriter(store.open_ingest("r").path, limit=SIZE) as writer:
        writer.start_at(0)
        writer.write(CONTENT)
        assert writer.finish() == DIGEST
    store.commit("r", DIGEST, SIZE)


def test_any_other_offset_is_out_of_range(store):
    write_some(store, b"12345")
    with IngestWriter(store.open_ingest("r").path, limit=None) as writer:
        for offset in (4, 6, -1):
            with pytest.raises(OutOfRangeError, match="offset 5"):
                writer.start_at(offset)


@pytest.mark.parametrize("other", [{"expected": Digest.of(b"else")}, {"total": SIZE + 1}, {"total": 3}])
def test_an_ingest_for_something_else_is_begun_again(store, other):
    write_some(store, b"12345", expected=DIGEST, total=SIZE)
    assert store.open_ingest("r", **other).offset == 0
    assert store.status("r").offset == 0


def test_an_ingest_is_not_opened_when_the_blob_is_here(store):
    put(store, CONTENT)
    with pytest.raises(AlreadyExistsError, match=str(DIGEST)):
        store.open_ingest("s", expected=DIGEST)
    assert refs(store) == set()


def test_one_writer_per_ref(store):
    path = store.open_ingest("r").path
    with IngestWriter(path, limit=None) as writer:
        writer.write(CONTENT)
        writer.finish()
        with pytest.raises(UnavailableError, match="'r'"):
            store.open_ingest("r")
        with pytest.raises(UnavailableError, match="'r'"):
            IngestWriter(path, limit=None)
        with pytest.raises(UnavailableError, match="'r'"):
            store.commit("r", DIGEST, SIZE)
        assert store.open_ingest("another").offset == 0
    assert store.open_ingest("r").offset == SIZE


def test_looking_is_in_nobodys_way(store):
    """Those who wait for a writer look at the ingest all the time."""
    path = store.open_ingest("r").path
    ended = threading.Event()
    seen = set()

    def look():
        while not ended.is_set():
            seen.add(store.is_being_written("r"))

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(500):
            IngestWriter(path, limit=None).close()
            store.open_ingest("r")
        with IngestWriter(path, limit=None):
            wait = time.monotonic() + 30
            while seen != {True, False} and time.monotonic() < wait:
                time.sleep(0.001)
    finally:
        ended.set()
        for looker in lookers:
            looker.join()
    assert seen == {True, False}


def test_a_writer_needs_an_open_ingest(store):
    path = store.open_ingest("r").path
    store.abort("r")
    with pytest.raises(NotFoundError):
        IngestWriter(path, limit=None)


def test_a_writer_keeps_to_its_limit(store):
    with IngestWriter(store.open_ingest("r").path, limit=8) as writer:
        writer.write(b"1234")
        with pytest.raises(InvalidArgumentError, match="more than the 8 bytes"):
            writer.write(b"56789")
        writer.write(b"5678")
        assert writer.offset == 8
    assert store.status("r").offset == 8


def test_a_finished_writer_takes_no_more(store):
    with IngestWriter(store.open_ingest("r").path, limit=None) as writer:
        writer.finish()
        for again in (lambda: writer.write(b"x"), lambda: writer.start_at(0), writer.finish):
            with pytest.raises(FailedPreconditionError):
                again()


def test_a_wrong_digest_is_named_and_the_ingest_discarded(store):
    write_some(store, CONTENT)
    wrong = Digest.of(b"something else")
    with pytest.raises(InvalidArgumentError) as caught:
        store.commit("r", wrong, SIZE)
    assert str(wrong) in str(caught.value)
    assert str(DIGEST) in str(caught.value)
    assert refs(store) == set()
    assert list(store.blobs()) == []


def test_saying_verified_does_not_make_a_wrong_digest_right(store):
    with IngestWriter(store.open_ingest("r").path, limit=None) as writer:
        writer.write(CONTENT)
        writer.finish()
    with pytest.raises(InvalidArgumentError):
        store.commit("r", Digest.of(b"something else"), SIZE, verified=True)
    assert list(store.blobs()) == []


def test_a_later_writer_breaks_the_seal_of_the_former(store):
    path = store.open_ingest("r").path
    with IngestWriter(path, limit=None) as writer:
        writer.write(CONTENT)
        writer.finish()
    with IngestWriter(path, limit=None) as writer:
        writer.start_at(0)
        writer.write(bytes(SIZE))
    with pytest.raises(InvalidArgumentError, match="discarded"):
        store.commit("r", DIGEST, SIZE, verified=True)
    assert not store.has(DIGEST)


def test_a_commit_with_bytes_missing_leaves_the_ingest_to_be_resumed(store):
    write_some(store, CONTENT[:10])
    with pytest.raises(FailedPreconditionError, match=f"10 of {SIZE} bytes"):
        store.commit("r", DIGEST, SIZE)
    assert store.open_ingest("r").offset == 10


def test_a_commit_with_bytes_too_many_discards_the_ingest(store):
    write_some(store, CONTENT + b"x")
    with pytest.raises(InvalidArgumentError, match=f"instead of {SIZE}"):
        store.commit("r", DIGEST, SIZE)
    assert refs(store) == set()


def test_commit_is_idempotent(store):
    first = put(store, CONTENT)
    assert store.commit("r", DIGEST, SIZE) == first
    write_some(store, b"begun by somebody who did not know", ref="s")
    assert store.commit("s", DIGEST) == first
    assert refs(store) == set()
    with pytest.raises(InvalidArgumentError):
        store.commit("r", DIGEST, SIZE + 1)


def test_commit_without_an_ingest_or_blob_finds_nothing(store):
    with pytest.raises(NotFoundError, match="'r'"):
        store.commit("r", DIGEST, SIZE)


def test_the_size_may_be_unknown(store):
    write_some(store, CONTENT)
    assert store.commit("r", DIGEST).size == SIZE


def test_a_digest_that_cannot_be_verified_is_never_stored(store):
    write_some(store, CONTENT)
    unknown = Digest("blake3", "ab")
    assert not store.has(unknown)
    with pytest.raises(InvalidArgumentError, match="cannot be verified"):
        store.commit("r", unknown)
    assert store.status("r").offset == SIZE


def test_abort_drops_the_bytes(store):
    write_some(store, CONTENT)
    store.abort("r")
    assert refs(store) == set()
    assert store.open_ingest("r").offset == 0
    with pytest.raises(NotFoundError):
        store.abort("unknown")


def test_a_writer_whose_ingest_was_aborted_learns_of_it_and_spoils_nothing(store):
    with IngestWriter(store.open_ingest("r").path, limit=None) as stale:
        stale.write(CONTENT)
        store.abort("r")
        with IngestWriter(store.open_ingest("r").path, limit=None) as writer:
            writer.write(b"new")
            with pytest.raises(NotFoundError, match="aborted"):
                stale.finish()
            digest = writer.finish()
    store.commit("r", digest, 3, verified=True)
    assert store.read(digest, 3) == b"new"


def test_delete_removes_and_readers_keep_what_they_have_open(store):
    put(store, CONTENT)
    with store.open(DIGEST, verified=True) as reader:
        store.delete(DIGEST)
        assert reader.read() == CONTENT
    assert not store.has(DIGEST)
    with pytest.raises(NotFoundError):
        store.delete(DIGEST)
    put(store, CONTENT)
    assert store.has(DIGEST)


@pytest.mark.parametrize(
    "damage",
    [lambda content: b"X" + content[1:], lambda content: content[:-1]],
)
def test_a_damaged_blob_never_passes_for_good(store, damage):
    put(store, CONTENT)
    with store.open(DIGEST, verified=True) as reader:
        store.path(DIGEST).write_bytes(damage(CONTENT))
        with pytest.raises(StorageError, match="damaged"):
            reader.read()
    with pytest.raises(StorageError, match="damaged"):
        store.read(DIGEST, SIZE)


def test_read_is_bounded(store):
    put(store, CONTENT)
    with pytest.raises(InvalidArgumentError, match=str(SIZE)):
        store.read(DIGEST, SIZE - 1)


def test_ingests_without_activity_expire(store):
    for ref in ("old", "busy", "fresh"):
        write_some(store, b"x", ref=ref)
    day = 24 * 60 * 60
    now = time.time() + day + 1
    for ref in ("old", "busy"):
        os.utime(store.open_ingest(ref).path, (now - day - 1, now - day - 1))
    os.utime(store.open_ingest("fresh").path, (now - day + 1, now - day + 1))
    with IngestWriter(store.open_ingest("busy").path, limit=None):
        assert store.expired(now) == ["old"]
    assert set(store.expired(now, idle=0)) == {"old", "busy", "fresh"}
    assert refs(store) == {"old", "busy", "fresh"}


@pytest.mark.parametrize("ref", ["", "x" * 1025, "\ud800"])
def test_malformed_refs_are_refused(store, ref):
    with pytest.raises(InvalidArgumentError, match="ref"):
        store.open_ingest(ref)


@pytest.mark.parametrize("ref", ["../../etc", "a/b", ".", "a\nb", "\0", "x" * 1024, "layer-sha256:\u00e9"])
def test_any_other_text_is_a_ref(store, ref):
    write_some(store, b"x", ref=ref)
    assert store.status(ref).ref == ref
    assert refs(store) == {ref}


def test_a_negative_total_is_refused(store):
    with pytest.raises(InvalidArgumentError, match="negative"):
        store.open_ingest("r", total=-1)


@given(cuts=st.lists(st.integers(0, SIZE), max_size=6).map(sorted))
def test_any_division_into_sessions_gives_the_same_blob(tmp_path_factory, cuts):
    store = ContentStore(tmp_path_factory.mktemp("store"))
    ends = [*cuts, SIZE]
    for start, end in zip([0, *cuts], ends, strict=True):
        with IngestWriter(store.open_ingest("r").path, limit=SIZE) as writer:
            writer.start_at(start)
            writer.write(memoryview(CONTENT)[start:end])
            digest = writer.finish()
    assert digest == DIGEST
    assert store.commit("r", DIGEST, SIZE, verified=True).size == SIZE
