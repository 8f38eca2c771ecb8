"""Upkeep of the stores as a whole, in worker threads of the collector: usage, check, repair.

Each owner checks what is its own; here their answers are compared. Nothing is looked at behind an owner's
back but the sizes of files.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from actors import messages as m
from actors.keeping import Asking
from actors.paging import everything
from transport.errors import RemoteError

BATCH = 50_000  # digests in one question
CHECK_LIMIT = 3600.0  # seconds; reading all blobs takes as long as the disk needs


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be, and what repair can do about it (empty: nothing).

    Attributes:
        kind: database, blob, content, image, snapshot, orphan or container.
        what: the thing and what is wrong with it.
    """

    kind: str
    what: str
    repair: str = ""
    namespace: str = ""
    id: str = ""


class Upkeep:
    """What the collector answers about the stores."""

    def __init__(self, actor: Asking) -> None:
        self._call = actor.call

    # Usage

    def usage(self) -> dict[str, Any]:
        """A row for each kind of thing."""
        containers = everything(self._call, m.ContainersList(brief=True), "containers")
        blobs = everything(self._call, m.ContentList(), "blobs")
        ingests = self._call(m.ContentStatuses())["ingests"]
        snapshots = self._call(m.SnapshotsUsages(), limit=CHECK_LIMIT)["usages"]
        unheld = set(self._unheld([one["digest"] for one in blobs]))
        layers = [one for one in snapshots if one["kind"] == "committed"]
        others = [one for one in snapshots if one["kind"] != "committed"]
        loose = {(one["namespace"], one["key"]) for one in self._unreached()}
        used = {(one["namespace"], one["image"]) for one in containers}
        images = [(namespace, name) for namespace, name, _ in self._images()]
        rows = [
            _row("images", len(images), sum(one in used for one in images), 0, 0),
            _row("containers", len(containers), len(containers), 0, 0),
            _sized("blobs", blobs, [one for one in blobs if one["digest"] in unheld]),
            _sized("layers", layers, [one for one in layers if (one["namespace"], one["key"]) in loose]),
            _sized("writable", others, [one for one in others if (one["namespace"], one["key"]) in loose]),
            _row("ingests", len(ingests), len(ingests), sum(one["offset"] for one in ingests), 0),
        ]
        return {"rows": rows}

    def _images(self) -> list[tuple[str, str, str]]:
        """Namespace, name and digest of each."""
        spaces = [one["name"] for one in self._call(m.NamespacesList())["namespaces"]]
        return [
            (space, one["name"], one["target"]["digest"])
            for space in spaces
            for one in everything(self._call, m.ImagesList(space), "images")
        ]

    def _contents(self) -> list[tuple[str, str]]:
        """Namespace and digest of each blob that is on record."""
        found = everything(self._call, m.ContentsList(), "contents")
        return [(one["namespace"], one["digest"]) for one in found]

    def _unheld(self, digests: list[str]) -> list[str]:
        found: list[str] = []
        for first in range(0, len(digests), BATCH):
            found += self._call(m.ContentsUnheld(digests[first : first + BATCH]))["digests"]
        return found

    def _unreached(self) -> list[dict[str, Any]]:
        graph = [m.SnapshotNode(**node) for node in self._call(m.SnapshotsGraph())["snapshots"]]
        found: list[dict[str, Any]] = self._call(m.CollectionUnreached(graph))["snapshots"]
        return found

    # Removal of what is not used

    def remove_unused(self, body: m.SystemPrune) -> list[dict[str, str]]:
        """Containers that have exited and images that no container uses, as far as it is wished."""
        removed = list(self._remove_containers(body.namespace)) if body.containers else []
        if body.images:
            removed += self._remove_images(body.namespace)
        return removed

    def _remove_containers(self, namespace: str) -> Iterator[dict[str, str]]:
        for one in everything(self._call, m.ContainersList(namespace, brief=True), "containers"):
            status = (one["task"] or {}).get("status")
            stopped = status == "stopped" and one["wanted"] != "running"
            if stopped and self._removed(m.ContainersRemove(), to=one["actor"], limit=60):
                yield {"kind": "container", "namespace": one["namespace"], "name": one["name"]}

    def _remove_images(self, namespace: str) -> Iterator[dict[str, str]]:
        for space, name, _ in self._images():
            if namespace in ("", space) and self._removed(m.ImagesDelete(space, name)):
                yield {"kind": "image", "namespace": space, "name": name}

    def _removed(self, removal: Any, **how: Any) -> bool:
        """Remove one; not if it is in use, or was removed meanwhile."""
        try:
            self._call(removal, **how)
        except RemoteError as error:
            if error.code in ("failed_precondition", "not_found"):
                return False
            raise
        return True

    # Check and repair

    def check(self, limit: int) -> list[dict[str, str]]:
        """What is wrong, all over."""
        return [asdict(one) for one in self._problems(limit)]

    def _problems(self, limit: int) -> Iterator[Problem]:
        contents, images = self._contents(), self._images()
        snapshots = self._call(m.SnapshotsCheck())
        for name, lines in (
            ("metadata", self._call(m.MetadataCheck())["problems"]),
            ("snapshots", [line for line in snapshots["problems"] if not line.startswith("snapshot ")]),
            ("events", self._call(m.EventsCheck())["problems"]),
        ):
            for line in lines:
                yield Problem("database", f"{name}: {line}")
        for one in self._call(m.ContentCheck(limit), limit=CHECK_LIMIT)["damaged"]:
            text = f"blob {one['digest']} is damaged: {one['error']}"
            yield Problem("blob", text, "delete it; pull its image again", id=one["digest"])
        yield from self._lost(contents, images)
        yield from self._layers(snapshots)

    def _lost(self, contents: list[tuple[str, str]], images: list[tuple[str, str, str]]) -> Iterator[Problem]:
        """Records whose blob is not there."""
        blobs = {one["digest"] for one in everything(self._call, m.ContentList(), "blobs")}
        lost = self._still_lost({digest for *_, digest in (*contents, *images)} - blobs)
        if lost:
            contents, images = self._contents(), self._images()
            lost = self._still_lost(lost)
        for namespace, digest in contents:
            if digest in lost:
                text = f"content {digest} of namespace {namespace} is on record, but its blob is gone"
                yield Problem("content", text, "forget it; pull its image again", namespace, digest)
        for namespace, name, digest in images:
            if digest in lost:
                yield Problem(
                    "image", f"image {name} of namespace {namespace} lacks its blob {digest}: pull it again"
                )
        for digest in self._unheld(sorted(blobs)):
            yield Problem("orphan", f"blob {digest} is known to no namespace", "collect", id=digest)

    def _still_lost(self, digests: set[str]) -> set[str]:
        """Those that are not here. A record goes before its blob, and comes after it.

        So who looks at records, and at blobs before and after that, sees what is lost, and not what comes and
        goes meanwhile.
        """
        some, found = sorted(digests), set[str]()
        for first in range(0, len(some), BATCH):
            found.update(self._call(m.ContentMissing(some[first : first + BATCH]))["missing"])
        return found

    def _layers(self, found: dict[str, Any]) -> Iterator[Problem]:
        for line in found["problems"]:
            if line.startswith("snapshot "):
                yield Problem("snapshot", line, "forget it, if no container writes on top of it")
        for path in found["orphans"]:
            yield Problem("orphan", f"directory {path} belongs to no snapshot", "delete it")
        for one in self._unreached():
            text = f"snapshot {one['key']} of namespace {one['namespace']} is referred to by nothing"
            yield Problem("orphan", text, "collect")

    def repair(self, limit: int) -> dict[str, Any]:
        """Put right what can be, and say what was done and what is left."""
        found = list(self._problems(limit))
        actions = [self._repaired(one) for one in found if one.kind in ("blob", "content")]
        kinds = Counter(one.kind for one in found)
        if kinds["snapshot"] or kinds["orphan"]:
            for one in self._call(m.SnapshotsRepair())["removed"]:
                text = f"record of lost snapshot {one['key']} of namespace {one['namespace']}"
                actions.append({"kind": "snapshot", "what": text, "done": "deleted"})
        if kinds["orphan"] or actions:
            gone = self._call(m.GcRun(), limit=CHECK_LIMIT)
            text = f"{gone['blobs']} blobs, {gone['snapshots']} snapshots"
            actions.append({"kind": "orphan", "what": text, "done": "collected"})
        return {"actions": actions, "problems": self.check(limit)}

    def _repaired(self, problem: Problem) -> dict[str, str]:
        self._call(m.ContentDelete(problem.id, "" if problem.kind == "blob" else problem.namespace))
        done = "deleted" if problem.kind == "blob" else "forgotten"
        return {"kind": problem.kind, "what": problem.what, "done": done}


def _row(kind: str, count: int, active: int, size: int, reclaimable: int) -> dict[str, Any]:
    return {"kind": kind, "count": count, "active": active, "size": size, "reclaimable": reclaimable}


def _sized(kind: str, every: list[dict[str, Any]], loose: list[dict[str, Any]]) -> dict[str, Any]:
    size, free = (sum(one["size"] for one in some) for some in (every, loose))
    return _row(kind, len(every), len(every) - len(loose), size, free)
