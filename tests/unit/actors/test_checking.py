"""What a check finds wrong while things come and go."""

from __future__ import annotations

from actors import messages as m
from actors.upkeep import Upkeep

GONE, BACK, LOST, NAMED = ("sha256:" + letter * 64 for letter in "abcd")


class Stores:
    """In the place of the actor. What is on record at first lacks its blob when blobs are listed.

    GONE is collected during the check, its record first; BACK too, and pulled anew; LOST and NAMED are lost.
    """

    def __init__(self):
        self.contents = [GONE, BACK, LOST]
        self.forgotten = []

    def call(self, body, *, to="", limit=30.0):
        del to, limit
        match body:
            case m.ContentsList():
                known, self.contents = self.contents, [BACK, LOST]
                return {"contents": [{"namespace": "default", "digest": digest} for digest in known]}
            case m.NamespacesList():
                return {"namespaces": [{"name": "default"}]}
            case m.ImagesList():
                return {"images": [{"name": "image", "target": {"digest": NAMED}}]}
            case m.SnapshotsCheck():
                return {"problems": [], "orphans": []}
            case m.MetadataCheck() | m.EventsCheck():
                return {"problems": []}
            case m.ContentCheck():
                return {"damaged": []}
            case m.ContentList():
                return {"blobs": [], "next": ""}
            case m.ContentMissing():
                return {"missing": [digest for digest in body.digests if digest != BACK]}
            case m.ContentsUnheld():
                return {"digests": []}
            case m.SnapshotsGraph() | m.CollectionUnreached():
                return {"snapshots": []}
            case m.ContentDelete():
                self.forgotten.append(body.digest)
                return {}
        return {"blobs": 0, "snapshots": 0}


def test_what_is_collected_meanwhile_is_not_lost():
    found = Upkeep(Stores()).check(0)
    assert [(one["kind"], one["id"]) for one in found if one["kind"] == "content"] == [("content", LOST)]
    assert [one["what"] for one in found if one["kind"] == "image"] == [
        f"image image of namespace default lacks its blob {NAMED}: pull it again"
    ]
    assert len(found) == 2


def test_a_repair_forgets_nothing_that_came_back_meanwhile():
    stores = Stores()
    Upkeep(stores).repair(0)
    assert stores.forgotten == [LOST]
