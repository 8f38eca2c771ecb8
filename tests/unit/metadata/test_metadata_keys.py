"""Idempotency keys, leases and content labels."""

import pytest

from storage.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from storage.metadata import ContentLabels, Lease, Metadata, Remembered, Resource
from storage.metadata.idempotency import LIFETIME


def test_key_begins_then_ends(metadata):
    assert metadata.idempotency.recall("k", "create") is None
    assert metadata.idempotency.remember("k", "create").result is None
    begun = metadata.idempotency.recall("k", "create")
    assert begun is not None
    assert begun.result is None
    assert metadata.idempotency.remember("k", "create", {"id": "a"}).result == {"id": "a"}
    again = metadata.idempotency.recall("k", "create")
    assert again == Remembered("k", "create", {"id": "a"}, begun.at)


def test_the_first_result_stays(metadata):
    metadata.idempotency.remember("k", "create", {"id": "a"})
    assert metadata.idempotency.remember("k", "create", {"id": "b"}).result == {"id": "a"}
    assert metadata.idempotency.remember("k", "create").result == {"id": "a"}


def test_key_of_another_operation(metadata):
    metadata.idempotency.remember("k", "create", {})
    for use in (metadata.idempotency.recall, metadata.idempotency.remember):
        with pytest.raises(
            InvalidArgumentError, match='key "k" was used for create: use a new key for delete'
        ):
            use("k", "delete")


def test_forget(metadata):
    metadata.idempotency.remember("k", "create")
    metadata.idempotency.forget("k")
    assert metadata.idempotency.recall("k", "delete") is None


def test_keys_expire(tmp_path):
    now = [1]
    metadata = Metadata(tmp_path / "m.db", clock=lambda: now[0])
    metadata.idempotency.remember("k", "create", {})
    now[0] = LIFETIME
    assert metadata.idempotency.recall("k", "create") is not None
    now[0] = LIFETIME + 1
    assert metadata.idempotency.recall("k", "create") is None
    metadata.idempotency.remember("other", "create")
    assert metadata._database.rows("SELECT key FROM idempotency") == (("other",),)
    assert metadata.idempotency.remember("k", "delete").operation == "delete"
    metadata.close()


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
        metadata.content_labels.get("ns", "sha256:0")
    metadata.content_labels.put("ns", "sha256:0", {"a": "b"})
    metadata.content_labels.put("ns", "sha256:0", {"c": "d"})
    metadata.content_labels.put("other", "sha256:0", {})
    expected = ContentLabels("ns", "sha256:0", {"c": "d"})
    assert metadata.content_labels.get("ns", "sha256:0") == expected
    assert metadata.content_labels.list("ns") == (expected,)
    assert len(metadata.content_labels.list()) == 2
    metadata.content_labels.delete("ns", "sha256:0")
    metadata.content_labels.delete("ns", "sha256:0")
    assert metadata.content_labels.list("ns") == ()
