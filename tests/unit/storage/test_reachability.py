"""Reachability against a model so naive that it is plainly right, and the labels that make the edges."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.collection.labels import expired, expiry, is_root, references, referrers
from storage.collection.reachability import Resource, reachable
from storage.errors import InvalidArgumentError

nodes = st.builds(
    Resource, st.sampled_from(["content", "snapshots/x", "images"]), st.just("n"), st.sampled_from("abcdef")
)
edges = st.dictionaries(nodes, st.lists(nodes, max_size=4), max_size=12)


def naive(roots, edges, flat):
    """Add neighbours until nothing changes."""
    found = set(roots)
    while True:
        more = {target for source in found for target in edges.get(source, ())} | found
        if more == found:
            return found | set(flat)
        found = more


@given(st.sets(nodes), edges, st.sets(nodes, max_size=3))
def test_against_the_naive_model(roots, edges, flat):
    assert reachable(roots, edges, flat) == naive(roots, edges, flat)


@given(st.sets(nodes), edges, nodes, nodes)
def test_another_edge_never_takes_anything_away(roots, edges, source, target):
    before = reachable(roots, edges)
    assert before <= reachable(roots, {**edges, source: [*edges.get(source, ()), target]})


def test_a_long_chain_needs_no_stack():
    chain = [Resource("content", "n", str(number)) for number in range(100_000)]
    assert len(reachable(chain[:1], {one: [other] for one, other in itertools.pairwise(chain)})) == 100_000


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("containerd.io/gc.ref.content", "content"),
        ("containerd.io/gc.ref.content.l.0", "content"),
        ("containerd.io/gc.ref.content/config", "content"),
        ("containerd.io/gc.ref.snapshot.overlayfs", "snapshots/overlayfs"),
        ("containerd.io/gc.ref.snapshot.overlayfs/x", "snapshots/overlayfs"),
        ("containerd.io/gc.ref.image", "images"),
        ("containerd.io/gc.ref.image.x", "images"),
        ("containerd.io/gc.ref.contents", None),
        ("containerd.io/gc.ref.snapshot", None),
        ("containerd.io/gc.ref.snapshot.", None),
        ("containerd.io/gc.ref", None),
        ("other/gc.ref.content", None),
    ],
)
def test_references(key, kind):
    found = list(references("n", {key: "x"}))
    assert found == ([Resource(kind, "n", "x")] if kind else [])
    backwards = key.replace(".ref.", ".bref.")
    assert list(referrers("n", {backwards: "x"})) == found
    assert list(references("n", {backwards: "x"})) == []


def test_a_container_is_referred_to_backwards_only():
    label = {"containerd.io/gc.bref.container": "c"}
    assert list(referrers("n", label)) == [Resource("containers", "n", "c")]


def test_roots_and_expiry():
    assert is_root({"containerd.io/gc.root": "2026-01-01T00:00:00Z"})
    assert not is_root({"containerd.io/gc.root": ""})
    label = {"containerd.io/gc.expire": "1970-01-01T00:00:10Z"}
    assert expiry(label) == 10_000_000_000
    assert expiry({}) is None
    assert expired(label, 10_000_000_000)
    assert not expired(label, 9_999_999_999)
    assert expiry({"containerd.io/gc.expire": "0001-01-01T00:00:00Z"}) == 0
    assert expiry({"containerd.io/gc.expire": "9999-12-31T23:59:59Z"}) == 2**63 - 1, "a database holds it"
    for text in ("tomorrow", "1970-01-01T00:00:10"):
        assert not expired({"containerd.io/gc.expire": text}, 1 << 62), "what cannot be read expires nothing"
        with pytest.raises(InvalidArgumentError, match=r"gc\.expire"):
            expiry({"containerd.io/gc.expire": text})
