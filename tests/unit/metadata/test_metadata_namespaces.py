import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from storage.metadata import Namespace, NewContainer, Resource
from storage.names import check_identifier, check_text, encode, encode_labels, storable


def test_create_get_list_update_delete(metadata):
    assert metadata.namespaces.create("b", {"k": "v"}) == Namespace("b", {"k": "v"})
    metadata.namespaces.create("a")
    assert [namespace.name for namespace in metadata.namespaces.list()] == ["a", "b"]
    assert metadata.namespaces.update("b", {"x": "y"}).labels == {"x": "y"}
    metadata.namespaces.delete("b")
    with pytest.raises(NotFoundError, match='namespace "b" not found'):
        metadata.namespaces.get("b")


def test_create_twice(metadata):
    metadata.namespaces.create("a")
    with pytest.raises(AlreadyExistsError, match='namespace "a" already exists'):
        metadata.namespaces.create("a")


def test_delete_unknown(metadata):
    with pytest.raises(NotFoundError):
        metadata.namespaces.delete("a")


WRITES = {
    "images": lambda m: m.images.put("made", "n", {}),
    "containers": lambda m: m.containers.create("made", NewContainer("c")),
    "leases": lambda m: m.leases.create("made", "l"),
    "content labels": lambda m: m.contents.put("made", "sha256:0", {}),
    "labels": lambda m: m.namespaces.update("made", {}),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_any_write_makes_the_namespace(metadata, write):
    write(metadata)
    assert metadata.namespaces.get("made") == Namespace("made", {})


def test_a_refused_write_makes_no_namespace(metadata):
    with pytest.raises(InvalidArgumentError):
        metadata.containers.create("made", NewContainer("no good id"))
    with pytest.raises(InvalidArgumentError):
        metadata.images.put("no/good", "n", {})
    assert metadata.namespaces.list() == ()


def test_delete_of_a_filled_one_names_what_is_left(metadata):
    for name in "abcd":
        metadata.containers.create("ns", NewContainer(name))
    metadata.images.put("ns", "busybox", {})
    metadata.leases.take("ns", "lease", "puller/1", "instance", 1)
    metadata.contents.put("ns", "sha256:0", {})
    with pytest.raises(FailedPreconditionError) as caught:
        metadata.namespaces.delete("ns")
    assert str(caught.value) == (
        'namespace "ns" is not empty: remove 4 containers (a, b, c, ...), 1 image (busybox), '
        "1 lease (lease), 1 blob (sha256:0) first"
    )


def test_leases_that_no_actor_works_under_go_with_a_namespace(metadata):
    metadata.leases.create("ns", "lease")
    metadata.leases.add("ns", "lease", Resource("images", "i"))
    metadata.leases.create("other", "lease")
    metadata.namespaces.delete("ns")
    assert [one.namespace for one in metadata.leases.list()] == ["other"]
    metadata.leases.create("ns", "lease")
    assert metadata.leases.resources("ns", "lease") == ()


def test_delete_after_emptying(metadata):
    metadata.containers.create("ns", NewContainer("a"))
    metadata.containers.delete("ns", "a")
    metadata.namespaces.delete("ns")
    assert metadata.namespaces.list() == ()


@pytest.mark.parametrize("good", ["a", "A0", "k8s.io", "a-b_c.d", "x" * 76])
def test_identifiers_accepted(good):
    check_identifier("id", good)


@pytest.mark.parametrize("bad", ["", ".", "-a", "a-", "a..b", "a/b", "a b", "a\n", "é", "x" * 77, "a\0"])
def test_identifiers_refused(bad):
    with pytest.raises(InvalidArgumentError, match=r"^id ") as caught:
        check_identifier("id", bad)
    assert str(caught.value).isprintable()


@given(st.text(max_size=80))
def test_an_identifier_is_a_safe_file_name(value):
    try:
        check_identifier("id", value)
    except InvalidArgumentError:
        return
    assert value.isascii()
    assert not set(value) & set("/\0\n ")
    assert value[0] not in ".-"


def test_label_limits():
    assert encode_labels({"a" * 96: "b" * 4000})
    with pytest.raises(InvalidArgumentError, match="4097 bytes"):
        encode_labels({"a" * 97: "b" * 4000})
    with pytest.raises(InvalidArgumentError, match="4098 bytes"):
        encode_labels({"é" * 2049: ""})
    with pytest.raises(InvalidArgumentError, match="empty key"):
        encode_labels({"": "b"})
    with pytest.raises(InvalidArgumentError, match="too many"):
        encode_labels({str(number): "" for number in range(1025)})
    with pytest.raises(InvalidArgumentError, match="unicode"):
        encode_labels({"a": "\udc80"})


def test_json_limits():
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for bad in (deep, float("nan"), {"a": object()}, "x" * (4 << 20)):
        with pytest.raises(InvalidArgumentError):
            encode(bad)


@given(st.text())
def test_text_is_one_line_or_refused_in_one_line(value):
    if value and value.isprintable() and len(value) <= 1024:
        check_text("text", value)
        return
    with pytest.raises(InvalidArgumentError) as caught:
        check_text("text", value)
    assert str(caught.value).isprintable()


@given(st.text(st.characters(), max_size=20))
def test_any_text_can_be_made_storable(value):
    stored = storable(value)
    assert len(stored.encode()) >= len(value)
    assert "\0" not in stored
    assert storable(stored) == stored
