"""Leases, content labels, and events that are to be told."""

import pytest

from storage.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from storage.metadata import Announcement, Content, Lease, Metadata, Resource
from storage.metadata.announcements import LIFETIME


def test_lease_life(metadata):
    lease = metadata.leases.create("ns", "l", labels={"k": "v"}, expires_at=99)
    assert lease == Lease("ns", "l", {"k": "v"}, 1000, 99)
    with pytest.raises(AlreadyExistsError, match='lease "l" already exists in namespace "ns"'):
        metadata.leases.create("ns", "l")
    metadata.leases.create("other", "l")
    assert [lease.namespace for lease in metadata.leases.list()] == ["ns", "other"]
    assert metadata.leases.list("ns") == (lease,)
    metadata.leases.delete("ns", "l")
    with pytest.raises(NotFoundError, match='lease "l" not found'):
        metadata.leases.get("ns", "l")
    with pytest.raises(NotFoundError):
        metadata.leases.delete("ns", "l")


def test_lease_resources(metadata):
    metadata.leases.create("ns", "l")
    blob, snapshot = Resource("content", "sha256:0"), Resource("snapshots/overlayfs", "extract-1 sha256:0")
    for resource in (snapshot, blob, blob):
        metadata.leases.add("ns", "l", resource)
    assert metadata.leases.resources("ns", "l") == (blob, snapshot)
    metadata.leases.remove("ns", "l", blob)
    metadata.leases.remove("ns", "l", blob)
    assert metadata.leases.resources("ns", "l") == (snapshot,)
    metadata.leases.delete("ns", "l")
    metadata.leases.create("ns", "l")
    assert metadata.leases.resources("ns", "l") == ()


@pytest.mark.parametrize("kind", ["", "blobs", "snapshots", "snapshots/", "snapshots/../x", "content\n"])
def test_lease_resource_types(metadata, kind):
    metadata.leases.create("ns", "l")
    with pytest.raises(InvalidArgumentError, match="use content, ingests, images or snapshots/NAME"):
        metadata.leases.add("ns", "l", Resource(kind, "x"))
    with pytest.raises(NotFoundError):
        metadata.leases.add("ns", "unknown", Resource("content", "x"))


def test_content_labels(metadata):
    with pytest.raises(NotFoundError, match='content "sha256:0" not found in namespace "ns"'):
        metadata.contents.get("ns", "sha256:0")
    metadata.contents.put("ns", "sha256:0", {"a": "b"})
    metadata.contents.put("ns", "sha256:0", {"c": "d"})
    metadata.contents.put("other", "sha256:0", {})
    expected = Content("ns", "sha256:0", {"c": "d"}, 1000, 1001)
    assert metadata.contents.get("ns", "sha256:0") == expected
    assert metadata.contents.list("ns") == (expected,)
    assert len(metadata.contents.list()) == 2
    assert metadata.contents.known(["sha256:0", "sha256:1"]) == {"sha256:0"}
    assert metadata.contents.delete("ns", "sha256:0")
    assert not metadata.contents.delete("ns", "sha256:0")
    assert metadata.contents.list("ns") == ()
    assert metadata.contents.known(["sha256:0"]) == {"sha256:0"}
    assert metadata.contents.delete(None, "sha256:0")
    assert metadata.contents.known(["sha256:0"]) == set()


def test_merged_labels(metadata):
    metadata.contents.put("ns", "sha256:0", {"a": "1", "b": "2"})
    metadata.contents.merge("ns", {"sha256:0": {"b": "", "c": "3"}})
    assert metadata.contents.get("ns", "sha256:0").labels == {"a": "1", "c": "3"}
    with pytest.raises(NotFoundError, match="sha256:1"):
        metadata.contents.merge("ns", {"sha256:0": {"a": "9"}, "sha256:1": {}})
    assert metadata.contents.get("ns", "sha256:0").labels == {"a": "1", "c": "3"}, "all or none"


def test_who_may_share(metadata):
    may = metadata.contents.may_share
    assert not may("ns", "sha256:0", isolated=False)
    metadata.contents.put("other", "sha256:0", {})
    assert may("ns", "sha256:0", isolated=False)
    assert not may("ns", "sha256:0", isolated=True)
    metadata.namespaces.update("other", {"containerd.io/namespace.shareable": "true"})
    assert may("ns", "sha256:0", isolated=True)


def test_a_lease_of_an_actor_goes_with_its_incarnation(metadata):
    leases, blob = metadata.leases, Resource("content", "sha256:0")
    leases.take("ns", "l", "puller/x", "daemon", 1)
    assert leases.add("ns", "l", blob)
    assert not leases.add("ns", "l", blob)
    leases.take("ns", "l", "puller/x", "daemon", 2)
    assert leases.resources("ns", "l") == (blob,)
    assert leases.release("puller/x", "daemon", 1) == 0, "a later incarnation has it"
    assert leases.release("puller/x", "another daemon", 2) == 0
    assert leases.release("puller/x", "daemon", 3) == 1
    assert leases.list() == ()
    leases.create("ns", "of-a-client")
    assert leases.release("", "", 0) == 0


def test_leases_expire(metadata):
    metadata.leases.create("ns", "a", expires_at=10)
    metadata.leases.create("ns", "b", expires_at=20)
    metadata.leases.create("ns", "c")
    assert metadata.leases.next_expiry() == 10
    assert metadata.leases.expire(15) == 1
    assert [one.id for one in metadata.leases.list()] == ["b", "c"]
    assert metadata.leases.expire(20) == 1
    assert metadata.leases.next_expiry() is None


def test_a_blob_has_a_label_for_each_of_its_children(metadata):
    labels = {f"containerd.io/gc.ref.content.l.{at}": f"sha256:{at:064}" for at in range(5000)}
    metadata.contents.put("ns", "sha256:0", {})
    metadata.contents.merge("ns", {"sha256:0": labels})
    assert metadata.contents.get("ns", "sha256:0").labels == labels
    with pytest.raises(InvalidArgumentError, match="too many"):
        metadata.contents.put("ns", "sha256:0", {str(at): "" for at in range(40_001)})


def test_announcements_are_kept_for_as_long_as_they_may_have_to_be_told(tmp_path):
    now = [1000]
    metadata = Metadata(tmp_path / "metadata.db", clock=lambda: now[0])
    first = metadata.announcements.note("ns", "/images/delete", "a", {"name": "a"})
    now[0] += LIFETIME - 1
    second = metadata.announcements.note("ns", "/images/delete", "a", {"name": "a"})
    assert metadata.announcements.recent() == (first, second)
    assert first.key != second.key, "the same name again is another event"
    now[0] += 1
    assert metadata.announcements.recent() == (second,)
    third = metadata.announcements.note("ns", "/namespaces/delete", "ns", {})
    now[0] = 1000
    assert metadata.announcements.recent() == (second, third), "the first is not kept for ever"
    metadata.close()


def test_an_announcement_with_a_key_of_its_own_is_kept_once(metadata):
    told = Announcement("/containers/delete:ns:a:1", "ns", "/containers/delete", {"id": "a"}, 1000)
    for _ in range(2):
        assert metadata.announcements.keep(told) == told
    assert metadata.announcements.recent() == (told,)


def test_what_is_undone_is_not_announced(metadata):
    def delete():
        with metadata.transaction():
            metadata.announcements.note("ns", "/images/delete", "a", {"name": "a"})
            metadata.images.delete("ns", "a")

    with pytest.raises(NotFoundError):
        delete()
    assert metadata.announcements.recent() == ()


def test_twenty_thousand_leases_come_in_pages(metadata):
    names = sorted(f"/mnt/image {number}" for number in range(20_000))
    with metadata.transaction():
        for name in names:
            metadata.leases.create("ns", name)
        metadata.leases.create("other", names[0])
    found, after = metadata.leases.page("ns", "")
    while after:
        more, after = metadata.leases.page("ns", after)
        found += more
    assert [one.id for one in found] == names
    assert found == metadata.leases.list("ns")
    (last,), after = metadata.leases.page(None, f"ns {names[-1]}")
    assert (last.namespace, after) == ("other", "")
