"""What the gateway reads by itself: what the owner has committed, as the owner would answer it."""

import sqlite3
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from actors import messages as m
from actors.gateway.namespaces import Leases
from actors.gateway.records import ASK, Records
from actors.settings import Settings
from actors.snapshots import how_to_use, opened
from storage.content import ContentStore, IngestWriter
from storage.digest import Digest
from storage.metadata import Metadata
from transport.errors import RemoteError
from transport.grpc.interface import message

TARGET = {"mediaType": "x/y", "digest": f"sha256:{'0' * 64}", "size": 1}


@pytest.fixture
def owner(tmp: Path):
    store = Metadata(tmp / "metadata.db")
    yield store
    store.close()


@pytest.fixture
def records(tmp: Path) -> Records:
    return Records(Settings(root=tmp, state=tmp))


def test_what_is_committed_is_read_and_nothing_else(owner: Metadata, records: Records):
    asked = m.ImagesGet("n", "a.b/c:d", exact=True)
    with pytest.raises(RemoteError) as raised:
        records.answer(asked)
    assert raised.value.code == "not_found"
    owner.images.put("n", "a.b/c:d", TARGET, {"x": "y"})
    found = records.answer(asked)
    assert (found["target"], found["labels"]) == (TARGET, {"x": "y"})
    with owner.transaction():
        owner.images.delete("n", "a.b/c:d")
        assert records.answer(asked) == found  # half done
    with pytest.raises(RemoteError):
        records.answer(asked)


def test_any_thread_may_look_while_the_owner_writes(owner: Metadata, records: Records):
    failed: list[BaseException] = []

    def look() -> None:
        try:
            for _ in range(100):
                assert records.answer(m.NamespacesList()) is not ASK
        except BaseException as error:  # noqa: BLE001  # told by the test's own thread
            failed.append(error)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(50):
        owner.images.put("n", f"a.b/c:{number}", TARGET, {})
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(records.answer(m.ImagesList("n"))["images"]) == 50


def test_the_owner_may_come_later_and_go_in_between(tmp: Path, records: Records):
    assert records.answer(m.ImagesList("n")) is ASK  # there is no database yet
    for number in range(2):
        owner = Metadata(tmp / "metadata.db")
        owner.images.put("n", f"a.b/c:{number}", TARGET, {})
        owner.close()
        assert len(records.answer(m.ImagesList("n"))["images"]) == number + 1


def test_another_schema_is_the_owners_affair(owner: Metadata, tmp: Path, records: Records):
    with sqlite3.connect(tmp / "metadata.db") as connection:
        connection.execute("PRAGMA user_version=10000")
    connection.close()
    assert records.answer(m.ImagesList("n")) is ASK
    assert owner.check() == ()


def test_a_reader_cannot_write(owner: Metadata, tmp: Path):
    reader = Metadata(tmp / "metadata.db", reader=True)
    with pytest.raises(Exception, match="readonly"):
        reader.images.put("n", "a.b/c:d", TARGET, {})
    reader.close()
    assert owner.images.list("n") == ()


def test_a_blob_is_there_when_it_is_on_record_and_on_the_disk(owner: Metadata, tmp: Path, records: Records):
    store, digest = ContentStore(tmp / "content"), Digest.of(b"hello")
    asked = m.ContentInfo(str(digest), "n")
    ingest = store.open_ingest("r", expected=digest, total=5)
    with IngestWriter(ingest.path, limit=5) as writer:
        writer.write(b"hello")
        writer.finish()
    store.commit("r", digest, 5, verified=True)
    with pytest.raises(RemoteError):
        records.answer(asked)  # of another namespace, perhaps
    owner.contents.put("n", str(digest), {"a": "b"})
    found = records.answer(asked)
    assert (found["size"], found["labels"]) == (5, {"a": "b"})
    store.delete(digest)
    with pytest.raises(RemoteError) as raised:
        records.answer(asked)
    assert raised.value.code == "not_found"


@pytest.mark.parametrize("digest", ["", "nonsense", "sha256:0"])
def test_what_is_no_digest_is_not_looked_for(owner: Metadata, records: Records, digest: str):
    with pytest.raises(RemoteError) as raised:
        records.answer(m.ContentInfo(digest, "n"))
    assert raised.value.code == "invalid_argument"


def test_what_changes_something_is_asked_of_the_owner(owner: Metadata, records: Records):
    assert records.answer(m.ImagesPut("n", "a.b/c:d", TARGET)) is ASK
    assert records.answer(m.ContentInfo(TARGET["digest"])) is ASK  # of no namespace: the content actor's
    assert owner.images.list("n") == ()


def test_snapshots_are_read_as_their_owner_answers(tmp: Path, records: Records):
    asked = m.SnapshotsMounts("n", "key")
    assert records.answer(asked) is ASK  # there is no database yet
    owner = opened(tmp, "overlayfs")
    owner.prepare("n", "key")
    assert records.answer(asked) == how_to_use(owner, "n", "key")
    assert records.answer(m.SnapshotsStat("n", "key"))["kind"] == "active"
    owner.remove("n", "key")
    with pytest.raises(RemoteError, match="not found"):
        records.answer(m.SnapshotsStat("n", "key"))
    with pytest.raises(RemoteError, match="is none of"):
        records.answer(m.SnapshotsStat("n", "key", "zfs"))


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a,b==c"])
def test_a_lease_is_deleted_whatever_its_id(owner: Metadata, records: Records, name: str):
    owner.leases.create("n", name)
    owner.leases.create("n", "other")
    asked: list[object] = []
    actor = SimpleNamespace(call=lambda body, **_: asked.append(body))
    leases, call = Leases(actor, records), SimpleNamespace(namespace="n", limit=1.0)
    leases.delete(message("containerd.services.leases.v1.DeleteRequest")(id=name), call)
    assert asked == [m.LeasesDelete("n", name, strict=True)]
