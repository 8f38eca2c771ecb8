"""The collector's view of the metadata: marks what can be reached, and forgets the rest.

Images, containers, leases and what namespaces know of content are read here, in one transaction of the one
writer; the snapshots come with the question, as their records are elsewhere. So nothing can be referred to
between the mark and the deletion of a row.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from storage.collection.labels import FLAT, expired, is_root, references, referrers
from storage.collection.reachability import Resource, reachable
from storage.database import Database
from storage.metadata.leases import Leases
from storage.names import decode


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot as far as collection is concerned; `labels` may be only those of collection."""

    namespace: str
    snapshotter: str
    key: str
    parent: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def resource(self) -> Resource:
        """Its node in the graph."""
        return Resource(f"snapshots/{self.snapshotter}", self.namespace, self.key)


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep of the metadata has forgotten, and which snapshots nothing leads to.

    Attributes:
        next_expiry: when the next lease expires, nanoseconds since the epoch; None when none will.
    """

    leases: int
    images: tuple[tuple[str, str], ...]
    contents: int
    snapshots: tuple[Snapshot, ...]
    next_expiry: int | None


class _Graph:
    """Roots and edges, as they are gathered."""

    def __init__(self) -> None:
        self.roots: set[Resource] = set()
        self.flat: set[Resource] = set()
        self.edges: dict[Resource, list[Resource]] = {}

    def link(self, source: Resource, target: Resource) -> None:
        self.edges.setdefault(source, []).append(target)

    def add(self, one: Resource, labels: Mapping[str, str]) -> None:
        """A resource with its labels."""
        if is_root(labels):
            self.roots.add(one)
        for target in references(one.namespace, labels):
            self.link(one, target)
        for source in referrers(one.namespace, labels):
            self.link(source, one)

    def reached(self) -> set[Resource]:
        return reachable(self.roots, self.edges, self.flat)


class Collecting:
    """Mark and sweep over the tables."""

    def __init__(self, database: Database, leases: Leases, clock: Callable[[], int]) -> None:
        self._database = database
        self._leases = leases
        self._clock = clock

    def sweep(self, snapshots: Iterable[Snapshot]) -> Swept:
        """Forget expired leases and images, and content that nothing leads to; name such snapshots."""
        all_snapshots = tuple(snapshots)
        now = self._clock()
        with self._database.transaction():
            leases = self._leases.expire(now)
            images = self._expire_images(now)
            reached = self._graph(all_snapshots, now).reached()
            contents = self._forget_contents(reached)
            unreached = tuple(one for one in all_snapshots if one.resource not in reached)
            return Swept(leases, images, contents, unreached, self._leases.next_expiry())

    def unreached(self, snapshots: Iterable[Snapshot]) -> tuple[Snapshot, ...]:
        """Those of the snapshots that nothing leads to now; changes nothing."""
        every = tuple(snapshots)
        reached = self._graph(every, self._clock()).reached()
        return tuple(one for one in every if one.resource not in reached)

    def _graph(self, snapshots: Iterable[Snapshot], now: int) -> _Graph:
        graph = _Graph()
        self._add_images(graph)
        self._add_containers(graph)
        self._add_leases(graph, now)
        for namespace, digest, labels in self._database.rows(
            "SELECT namespace, digest, labels FROM content_labels"
        ):
            if labels != "{}":
                graph.add(Resource("content", namespace, digest), decode(labels))
        for one in snapshots:
            graph.add(one.resource, one.labels)
            if one.parent:
                parent = Resource(one.resource.type, one.namespace, one.parent)
                graph.link(one.resource, parent)
        return graph

    def _add_images(self, graph: _Graph) -> None:
        rows = self._database.rows("SELECT namespace, name, target ->> 'digest', labels FROM images")
        for namespace, name, digest, labels in rows:
            image = Resource("images", namespace, name)
            graph.roots.add(image)
            graph.link(image, Resource("content", namespace, digest))
            graph.add(image, decode(labels))

    def _add_containers(self, graph: _Graph) -> None:
        """A container holds the image that it was created from, whatever the name points at by now."""
        rows = self._database.rows(
            "SELECT namespace, id, image, image_digest, snapshotter, snapshot_key, labels FROM containers"
        )
        for namespace, identity, image, digest, snapshotter, key, labels in rows:
            container = Resource("containers", namespace, identity)
            graph.roots.add(container)
            graph.link(container, Resource("images", namespace, image))
            graph.link(container, Resource("content", namespace, digest))
            graph.link(container, Resource(f"snapshots/{snapshotter}", namespace, key))
            graph.add(container, decode(labels))

    def _add_leases(self, graph: _Graph, now: int) -> None:
        rows = self._database.rows(
            "SELECT r.namespace, r.type, r.id, l.labels FROM lease_resources r JOIN leases l "
            "ON l.namespace = r.namespace AND l.id = r.lease "
            "WHERE l.expires_at IS NULL OR l.expires_at > ?",
            (now,),
        )
        for namespace, kind, identity, labels in rows:
            held = graph.flat if f'"{FLAT}"' in labels and decode(labels).get(FLAT) else graph.roots
            held.add(Resource(kind, namespace, identity))

    def _expire_images(self, now: int) -> tuple[tuple[str, str], ...]:
        rows = self._database.rows(
            "SELECT namespace, name, labels FROM images WHERE labels LIKE '%containerd.io/gc.expire%'"
        )
        gone = tuple((namespace, name) for namespace, name, text in rows if expired(decode(text), now))
        for namespace, name in gone:
            self._database.execute("DELETE FROM images WHERE namespace = ? AND name = ?", (namespace, name))
        return gone

    def _forget_contents(self, reached: set[Resource]) -> int:
        rows = self._database.rows("SELECT namespace, digest FROM content_labels")
        gone = [row for row in rows if Resource("content", *row) not in reached]
        for row in gone:
            self._database.execute("DELETE FROM content_labels WHERE namespace = ? AND digest = ?", row)
        return len(gone)
