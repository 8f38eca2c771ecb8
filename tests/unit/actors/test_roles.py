"""Who may ask what from another host: each operation is in one list, or is for nobody out there."""

from __future__ import annotations

from typing import get_type_hints

import pytest

from actors.job import WORK
from actors.linux.borrow import Lent
from actors.messages import OPERATIONS
from actors.roles import ADMIN, LENDING, OBSERVER, OPERATOR, is_audited, refusal
from transport.envelope import request

ROUTERS = {"router.peers", "router.ping"}
INTERNAL = frozenset(
    {
        "bundles.expect", "bundles.make", "collection.sweep", "collection.unreached",
        "collector.note", "containers.forget", "containers.update", "content.check", "content.commit",
        "content.open", "content.sweep", "contents.admit", "contents.forget", "contents.get", "contents.list",
        "contents.merge", "contents.put", "contents.unheld", "contents.update", "events.backup",
        "events.check", "events.publish", "leases.release", "leases.take",
        "metadata.backup", "metadata.check", "metrics.transferred", "namespaces.ensure", "network.attach",
        "network.backup", "network.detach", "network.names", "network.rename", "nodes.get",
        "resolver.refresh", "router.leave",
        "snapshots.backup", "snapshots.check", "snapshots.cleanup", "snapshots.commit", "snapshots.create",
        "snapshots.graph", "snapshots.mounts", "snapshots.prepare", "snapshots.remove", "snapshots.repair",
        "snapshots.sweep", "snapshots.usages", "snapshots.view", "system.backup", "tasks.freeze",
        "tasks.record", "tasks.thaw", "volumes.forget", "volumes.settle",
    }
)  # fmt: skip


def asked(op: str, **body: object) -> str:
    return refusal("operator", request("somebody", op, body))


def test_each_operation_has_one_place():
    lists = [OBSERVER, OPERATOR, ADMIN, INTERNAL]
    assert sum(map(len, lists)) == len(frozenset.union(*lists))
    assert frozenset.union(*lists) == OPERATIONS.keys() | ROUTERS


@pytest.mark.parametrize(
    ("role", "op", "why"),
    [
        ("observer", "containers.list", ""),
        ("observer", "containers.create", "needs the role operator"),
        ("observer", "keys.allow", "needs the role admin"),
        ("observer", "transfers.attach", "needs the role operator"),
        ("observer", "jobs.attach", "needs the role operator"),
        ("operator", "containers.create", ""),
        ("operator", "keys.list", "needs the role admin"),
        ("admin", "keys.list", ""),
        ("admin", "content.commit", "for the daemon's own host only"),
        ("admin", "no.such", "for the daemon's own host only"),
        ("nobody", "containers.list", "needs the role observer"),
    ],
)
def test_roles_build_on_each_other(role, op, why):
    found = refusal(role, request("somebody", op, {}))
    assert bool(found) == bool(why)
    assert why in found


def test_jobs_with_a_descriptor_of_their_client_stay_at_home():
    takes = {work for work, (wish, _) in WORK.items() if Lent in get_type_hints(wish).values()}
    assert takes == LENDING - {"mount"}  # which has a directory
    for work in LENDING:
        assert "run it on the daemon's host" in asked("jobs.start", work=work)
    assert asked("jobs.start", work="commit") == ""
    assert asked("jobs.start", work=3) == ""  # the supervisor says what is wrong with it


def test_of_the_daemons_children_only_actors_of_what_is_on_record_are_started_from_afar():
    start = {"kind": "container", "name": "container/n/c", "args": {"namespace": "n", "id": "c"}}
    assert asked("children.start", **start) == ""
    for other in ({**start, "kind": "job"}, {**start, "told": {"image": "x"}}, {}):
        assert "own host only" in asked("children.start", **other)
    assert "needs the role operator" in refusal("observer", request("somebody", "children.start", start))


def test_what_is_only_looked_at_leaves_no_line():
    assert not is_audited("containers.list")
    assert not is_audited("tasks.input")
    assert is_audited("containers.create")
