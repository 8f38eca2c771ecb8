"""Collection in the midst of everything, against a naive model: what is referred to stays, all else goes.

The three steps of a run lie apart, as they do between processes, and anything may happen between them.
"""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from storage.collection.labels import FLAT, REF_CONTENT, REF_SNAPSHOT
from storage.metadata import Metadata, NewContainer, Resource
from storage.metadata.collecting import Snapshot

DIGESTS = [f"sha256:{number}" for number in range(6)]
KEYS = [f"layer {number}" for number in range(5)]
digests, keys = st.sampled_from(DIGESTS), st.sampled_from(KEYS)
names = st.sampled_from(["a", "b"])
SHORT = 20  # ticks of the clock
LAYERS = "snapshots/overlayfs"


class Collection(RuleBasedStateMachine):
    """One namespace. The model has what there is, and no idea of how it is kept."""

    def __init__(self):
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.now = 1000
        self.store = Metadata(Path(self.directory.name) / "metadata.db", clock=lambda: self.now)
        self.contents: dict[str, set[tuple[str, str]]] = {}  # what each refers to
        self.snapshots: dict[str, str] = {}  # and their parents: they are the snapshotter's
        self.images: dict[str, str] = {}
        self.containers: dict[str, tuple[str, str]] = {}
        self.leases: dict[str, tuple[int | None, bool, set[tuple[str, str]]]] = {}
        self.seen: list[Snapshot] | None = None
        self.candidates: set[str] | None = None

    def teardown(self):
        assert self.store.check() == ()
        self.store.close()
        self.directory.cleanup()

    # What clients do: hold, then rely on it

    @rule(digest=digests, child=st.none() | digests, top=st.none() | keys)
    def bring_a_blob(self, digest, child, top):
        labels = {f"{REF_CONTENT}.l.0": child} if child else {}
        labels |= {f"{REF_SNAPSHOT}.overlayfs": top} if top else {}
        self.store.contents.put("ns", digest, labels)
        refers = {("content", child)} if child else set()
        self.contents[digest] = refers | ({(LAYERS, top)} if top else set())

    @rule(key=keys, parent=st.none() | keys)
    def make_a_snapshot(self, key, parent):
        if key not in self.snapshots and (parent is None or parent in self.snapshots):
            self.snapshots[key] = parent or ""

    @initialize()
    def begin_with_an_image(self):
        self.bring_a_whole_image()

    @rule()
    def bring_a_whole_image(self):
        """Each blob with the next, each layer on the one before."""
        for digest, child in pairwise(DIGESTS):
            self.bring_a_blob(digest, child, KEYS[-1])
        for parent, key in pairwise(["", *KEYS]):
            self.make_a_snapshot(key, parent or None)

    @rule(name=names, digest=digests)
    def name_an_image(self, name, digest):
        self.store.images.put("ns", name, {"digest": digest})
        self.images[name] = digest

    @rule(name=names)
    def forget_an_image(self, name):
        if self.images.pop(name, None):
            self.store.images.delete("ns", name)

    @rule(name=names, digest=digests, key=keys)
    def create_a_container(self, name, digest, key):
        if name not in self.containers:
            how = {"image_digest": digest, "snapshotter": "overlayfs", "snapshot_key": key}
            self.store.containers.create("ns", NewContainer(name, image="gone", **how))
            self.containers[name] = (digest, key)

    @rule(name=names)
    def remove_a_container(self, name):
        if self.containers.pop(name, None):
            self.store.containers.delete("ns", name)

    @rule(name=names, short=st.booleans(), flat=st.booleans(), digest=digests, key=keys)
    def lease(self, name, short, flat, digest, key):
        if name in self.leases:
            return
        until = self.now + SHORT if short else None
        self.store.leases.create("ns", name, labels={FLAT: "1"} if flat else {}, expires_at=until)
        held = {("content", digest), (LAYERS, key)}
        self.store.leases.add("ns", name, *(Resource(*one) for one in held))
        self.leases[name] = (until, flat, held)

    @rule(name=names)
    def end_a_lease(self, name):
        if name in self.leases:
            del self.leases[name]
            self.store.leases.delete("ns", name)

    @rule(ticks=st.integers(1, SHORT))
    def time_passes(self, ticks):
        self.now += ticks

    # A run

    @rule()
    def look_at_the_snapshots(self):
        self.seen = self._nodes()

    @rule()
    def mark_and_forget(self):
        if self.seen is None:
            return
        before = self._reached(self.seen)
        swept = self.store.collecting.sweep(self.seen)
        self.leases = {name: one for name, one in self.leases.items() if one[0] is None or one[0] > self.now}
        gone = {digest for digest in self.contents if ("content", digest) not in before}
        assert swept.contents == len(gone)
        self.contents = {one: refers for one, refers in self.contents.items() if one not in gone}
        self.candidates = {one.key for one in swept.snapshots}
        self.seen = None

    @rule()
    def remove_the_snapshots(self):
        if self.candidates is None:
            return
        nodes = self._nodes()
        reached = self._reached(nodes)
        for one in reversed(self.store.collecting.unreached(nodes)):
            assert (LAYERS, one.key) not in reached
            if one.key in self.candidates and one.key not in self.snapshots.values():
                del self.snapshots[one.key]
        self.candidates = None

    @rule()
    def collect(self):
        """All of it with nobody there: then nothing is left that nobody needs."""
        self.look_at_the_snapshots()
        self.mark_and_forget()
        for _ in KEYS:  # children before parents, in whatever order they were made
            self.candidates = set(self.snapshots)
            self.remove_the_snapshots()
        reached = self._reached(self._nodes())
        parents = set(self.snapshots.values())  # of one that a flat lease holds: they cannot be removed
        assert {(LAYERS, key) for key in self.snapshots if key not in parents} <= reached
        assert {("content", digest) for digest in self.contents} <= reached

    def _nodes(self):
        return [Snapshot("ns", "overlayfs", key, parent) for key, parent in self.snapshots.items()]

    def _reached(self, snapshots):
        """By passing on, until nothing is added, what is needed."""
        holding = [one for one in self.leases.values() if one[0] is None or one[0] > self.now]
        found = {("content", digest) for digest in self.images.values()}
        for digest, key in self.containers.values():
            found |= {("content", digest), (LAYERS, key)}
        for _, flat, held in holding:
            found |= set() if flat else held
        parents = {one.key: one.parent for one in snapshots}
        size = -1
        while size != len(found):
            size = len(found)
            for kind, name in list(found):
                found |= self.contents.get(name, set()) if kind == "content" else set()
                found |= {(LAYERS, parents[name])} if kind == LAYERS and parents.get(name) else set()
        return found.union(*(held for _, flat, held in holding if flat))

    @invariant()
    def what_is_on_record_is_what_the_model_has(self):
        assert {one.digest for one in self.store.contents.list("ns")} == set(self.contents)
        assert {one.name: one.target["digest"] for one in self.store.images.list("ns")} == self.images


TestCollection = Collection.TestCase
TestCollection.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
