import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from storage.metadata import Container, Metadata, NewContainer, Task
from storage.paging import PAGE_ROWS

FULL = NewContainer(
    id="abcdef0123",
    name="web",
    image="busybox:latest",
    image_digest="sha256:00",
    runtime="runc",
    snapshotter="overlayfs",
    snapshot_key="abcdef0123",
    options={"args": ["sh", "-c", "exit 7"], "env": {"A": "ä"}},
    labels={"k": "v"},
    wanted="running",
    auto_remove=True,
)


def create(metadata, *ids, namespace="ns"):
    return [metadata.containers.create(namespace, NewContainer(identity)) for identity in ids]


def test_create_keeps_every_field(metadata):
    expected = Container(
        namespace="ns", id="abcdef0123", name="web", image="busybox:latest", image_digest="sha256:00",
        runtime="runc", snapshotter="overlayfs", snapshot_key="abcdef0123", options=FULL.options,
        labels={"k": "v"}, created_at=1000, updated_at=1000, wanted="running", auto_remove=True,
    )  # fmt: skip
    assert metadata.containers.create("ns", FULL) == expected
    assert metadata.containers.list("ns") == (expected,)
    assert metadata.containers.list_all() == (expected,)


@pytest.mark.parametrize("reference", ["abcdef0123", "web", "abc", "abcdef012"])
def test_get_by_id_name_or_prefix(metadata, reference):
    metadata.containers.create("ns", FULL)
    assert metadata.containers.get("ns", reference).id == "abcdef0123"


@pytest.mark.parametrize(
    "reference", ["ab", "we", "", "abd", "abcdef01234", "ABC", "a%", "abc%", "abc_", "ab~"]
)
def test_get_of_anything_else(metadata, reference):
    metadata.containers.create("ns", FULL)
    with pytest.raises(NotFoundError, match="not found in namespace"):
        metadata.containers.get("ns", reference)


def test_ambiguous_prefix_names_the_candidates(metadata):
    create(metadata, "abc1", "abc2", "abd")
    with pytest.raises(InvalidArgumentError) as caught:
        metadata.containers.get("ns", "abc")
    assert str(caught.value) == 'container "abc" is ambiguous in namespace "ns": it may be abc1, abc2'
    assert metadata.containers.get("ns", "abd").id == "abd"
    create(metadata, "abc3", "abc4", "abc5", "abc6")
    with pytest.raises(InvalidArgumentError, match=r"abc1, abc2, abc3, abc4, abc5, \.\.\.$"):
        metadata.containers.get("ns", "abc")


def test_an_exact_id_or_name_wins_over_a_prefix(metadata):
    create(metadata, "abc", "abcd", "abcde")
    metadata.containers.create("ns", NewContainer("xyz", name="abcd-name"))
    assert metadata.containers.get("ns", "abc").id == "abc"
    assert metadata.containers.get("ns", "abcd").id == "abcd"
    assert metadata.containers.get("ns", "abcd-name").id == "xyz"


@pytest.mark.parametrize(
    "new",
    [
        NewContainer("abcdef0123"),
        NewContainer("other", name="web"),
        NewContainer("web"),
        NewContainer("other", name="abcdef0123"),
    ],
)
def test_ids_and_names_share_one_set(metadata, new):
    metadata.containers.create("ns", FULL)
    with pytest.raises(
        AlreadyExistsError, match=r'already exists in namespace "ns" \(id abcdef0123, name web\)'
    ):
        metadata.containers.create("ns", new)
    assert len(metadata.containers.list("ns")) == 1
    metadata.containers.create("elsewhere", new)


def test_not_found_says_where_it_is(metadata):
    metadata.containers.create("k8s.io", FULL)
    for reference in ("web", "abcdef0123"):
        with pytest.raises(NotFoundError) as caught:
            metadata.containers.get("ns", reference)
        assert str(caught.value) == (
            f'container "{reference}" not found in namespace "ns"; exists in namespace "k8s.io"'
        )


BAD = {
    "id": NewContainer("a b"),
    "empty id": NewContainer(""),
    "name": NewContainer("a", name="/x"),
    "wanted": NewContainer("a", wanted="sleeping"),
    "image": NewContainer("a", image="a\nb"),
    "label": NewContainer("a", labels={"k": "v" * 5000}),
    "options": NewContainer("a", options={"k": float("inf")}),
}


@pytest.mark.parametrize("new", BAD.values(), ids=BAD)
def test_bad_fields_are_refused_whole(metadata, new):
    with pytest.raises(InvalidArgumentError):
        metadata.containers.create("ns", new)
    assert metadata.namespaces.list() == ()


def test_update_replaces_what_is_given(metadata):
    before = metadata.containers.create("ns", FULL)
    after = metadata.containers.update("ns", "web", wanted="stopped", labels={"x": "y"})
    assert (after.wanted, after.labels, after.updated_at) == ("stopped", {"x": "y"}, 1001)
    assert (after.options, after.image, after.created_at) == (before.options, before.image, 1000)
    after = metadata.containers.update(
        "ns", "abcdef0123", options={}, image="i", image_digest="d", snapshot_key=""
    )
    assert (after.options, after.image, after.image_digest, after.snapshot_key) == ({}, "i", "d", "")
    assert after.labels == {"x": "y"}


def test_update_refusals(metadata):
    metadata.containers.create("ns", FULL)
    with pytest.raises(InvalidArgumentError):
        metadata.containers.update("ns", "web", wanted="asleep")
    with pytest.raises(NotFoundError):
        metadata.containers.update("ns", "other", wanted="stopped")
    assert metadata.containers.get("ns", "web").wanted == "running"


def test_delete_takes_the_task_along(metadata):
    metadata.containers.create("ns", FULL)
    metadata.tasks.record(Task("ns", "abcdef0123", 1, "running", pid=5))
    assert metadata.containers.delete("ns", "web").id == "abcdef0123"
    with pytest.raises(NotFoundError):
        metadata.tasks.get("ns", "abcdef0123")
    with pytest.raises(NotFoundError):
        metadata.containers.delete("ns", "web")


def test_lists_join_tasks(metadata):
    create(metadata, "b", "a")
    create(metadata, "c", namespace="other")
    task = Task("ns", "a", 1, "stopped", exited_at=9, exit_code=7)
    metadata.tasks.record(task)
    listed = metadata.containers.list_with_tasks("ns")
    assert [(container.id, task) for container, task in listed] == [("b", None), ("a", task)]
    assert [container.id for container, _ in metadata.containers.list_with_tasks(None)] == ["b", "a", "c"]
    assert [container.id for container in metadata.containers.list_all()] == ["b", "a", "c"]


@given(
    ids=st.sets(st.from_regex(r"[ab]{3,6}(?:[._-][ab])?", fullmatch=True), min_size=1, max_size=8),
    reference=st.text("ab._-", max_size=7),
)
def test_lookup_agrees_with_a_plain_model(tmp_path_factory, ids, reference):
    metadata = Metadata(tmp_path_factory.mktemp("model") / "metadata.db")
    with metadata.transaction():
        create(metadata, *ids)
        begins = [identity for identity in ids if identity.startswith(reference) and len(reference) >= 3]
        if reference in ids or len(begins) == 1:
            expected = reference if reference in ids else begins[0]
            assert metadata.containers.get("ns", reference).id == expected
        else:
            with pytest.raises(InvalidArgumentError if begins else NotFoundError):
                metadata.containers.get("ns", reference)
    metadata.close()


def test_twenty_thousand_come_in_pages_whatever_comes_and_goes_meanwhile(metadata):
    """Each that is there all the time is told once."""
    ids = [f"c{number:05}" for number in range(20_000)]
    with metadata.transaction():
        for number, identity in enumerate(reversed(ids)):
            create(metadata, identity, namespace=f"ns{number % 3}")
        metadata.tasks.record(Task("ns0", ids[-1], revision=1, status="running", pid=7))
    found, after, sizes = [], "", []
    while True:
        listed, after = metadata.containers.page(None, after)
        found += listed
        sizes.append(len(listed))
        if not after:
            break
        metadata.containers.delete("ns0", found[len(sizes)][0].id)
        create(metadata, f"a{len(sizes)}", namespace="ns0")  # before the place that the list has come to
    assert len(sizes) > 3
    assert max(sizes) <= PAGE_ROWS
    told = [(one.namespace, one.id) for one, _ in found]
    assert told == sorted(told)
    assert sorted(one.id for one, _ in found) == ids
    assert [task.pid for _, task in found if task is not None] == [7]


def test_a_page_is_of_one_namespace_and_reads_no_more_than_it_gives(metadata):
    large = {"foreign": "x" * 3_000_000}
    for namespace in ("a", "b"):
        for number in range(5):
            metadata.containers.create(namespace, NewContainer(f"c{number}", options=large))
    tracemalloc.start()
    found, after = metadata.containers.page("b", "")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(one.namespace, one.id) for one, _ in found] == [("b", "c0"), ("b", "c1")]
    assert peak < 24_000_000
    assert [one.id for one, _ in metadata.containers.page("b", after)[0]] == ["c2", "c3"]
    assert metadata.containers.page("b", "b c4") == ((), "")
    assert metadata.containers.page("nowhere", "") == ((), "")


def test_users_of_an_image_are_those_that_have_not_retired(metadata):
    """As `list` says; and nobody's options are read for it, which may be 30 kB each."""
    for number, (image, wanted, removes) in enumerate(
        itertools.product("xy", ("running", "removed"), (0, 1))
    ):
        for status in ("", "running", "stopped"):
            identity = f"c{number}{status}"
            how = {"wanted": wanted, "auto_remove": bool(removes), "name": f"n{identity}"}
            metadata.containers.create("ns", NewContainer(identity, image=image, **how))
            if status:
                metadata.tasks.record(Task("ns", identity, revision=1, status=status, pid=7))
    metadata.containers.create("other", NewContainer("c", image="x"))
    for image in ("x", "y", "z"):
        wanted = tuple(one.name for one in metadata.containers.list("ns") if one.image == image)
        assert metadata.containers.users("ns", image) == wanted
    assert len(metadata.containers.users("ns", "x")) == 11
    metadata._database.execute("UPDATE containers SET options = 'no json'")
    assert len(metadata.containers.users("ns", "x")) == 11
