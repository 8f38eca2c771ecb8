"""What only one client can have done, by a gRPC client of our own: of several, one is told that it has."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from daemon import wait_until
from gateway_api import CONTAINERS, TASKS, Api, packed_spec, serving
from test_grpc_content import CONTENT, WRITE, written
from test_grpc_leases import LEASES, SNAPSHOTS, lease, put
from test_grpc_records import IMAGES, image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]
KEPT: Final = {"containerd.io/gc.root": "1"}
CLIENTS: Final = 6
COMMITS: Final = "snapshots.snapshots.commit"
Ask = tuple[str, str, dict[str, Any]]


def _lease(api: Api) -> Ask:
    return LEASES, "Delete", {"id": lease(api)}


def _synchronous_lease(api: Api) -> Ask:
    return LEASES, "Delete", {"id": lease(api), "sync": True}


def _snapshot(api: Api) -> Ask:
    key = f"s{secrets.token_hex(4)}"
    api.ask(SNAPSHOTS, "Prepare", snapshotter="overlayfs", key=key, labels=KEPT)
    return SNAPSHOTS, "Remove", {"snapshotter": "overlayfs", "key": key}


def _blob(api: Api) -> Ask:
    return CONTENT, "Delete", {"digest": put(api, **KEPT)}


def _ingest(api: Api) -> Ask:
    ref = secrets.token_hex(4)
    written(api, {"action": WRITE, "ref": ref, "data": b"x", "total": 5})
    return CONTENT, "Abort", {"ref": ref}


def _image(api: Api) -> Ask:
    name = f"example.org/{secrets.token_hex(4)}:1"
    api.ask(IMAGES, "Create", image=image(name, put(api, **KEPT), {}))
    return IMAGES, "Delete", {"name": name}


MADE: Final[dict[str, Callable[[Api], Ask]]] = {
    "lease": _lease,
    "lease-sync": _synchronous_lease,
    "snapshot": _snapshot,
    "blob": _blob,
    "ingest": _ingest,
    "image": _image,
}
OWNERS: Final = {
    "lease": "metadata.leases.delete",
    "lease-sync": "metadata.leases.delete",
    "snapshot": "snapshots.snapshots.remove",
    "blob": "metadata.contents.forget",
    "ingest": "content.content.abort",
    "image": "metadata.images.delete",
}
"""Who takes it away, by what operation."""
DEADLY: Final = {
    **{kind: f"{owner}.after" for kind, owner in OWNERS.items()},
    "lease-sync": "collector.gc.run.before",
}
"""Where somebody dies when it has been done, and has not been said."""


@pytest.fixture(scope="module")
def fallible(short_root: Path) -> Iterator[tuple[Daemon, Api]]:
    """A daemon in which something can be made to go wrong."""
    with serving(Path(tempfile.mkdtemp(prefix="f-", dir=short_root)), "--failpoints") as found:
        found[1].ask(LEASES, "List")  # connects, so that no test is thought to have left that behind
        yield found


def outcomes(fallible: tuple[Daemon, Api], owner: str, *asks: Ask, actor: str = "") -> list[str]:
    """Of clients who all ask before whoever does it has done anything."""
    daemon, api = fallible
    daemon.actr(
        "chaos", "set", f"{owner}.before", "delay(500,count=1)", *(["--actor", actor] if actor else [])
    )
    asked = [api.begin(service, method, **fields) for service, method, fields in asks]
    return [one.code().name for one in asked]


@pytest.mark.parametrize("kind", MADE)
def test_one_client_has_taken_it_away(fallible: tuple[Daemon, Api], kind: str):
    found = outcomes(fallible, OWNERS[kind], *[MADE[kind](fallible[1])] * CLIENTS)
    assert sorted(found) == ["NOT_FOUND"] * (CLIENTS - 1) + ["OK"]


def _with_exec(api: Api, root: Path) -> str:
    """A container that runs, with a process "e" that has not been started."""
    name, process = api.container(root, "sleep", "60"), {"args": ["true"], "cwd": "/"}
    api.task("Create", container_id=name)
    api.task("Start", container_id=name)
    api.task("Exec", container_id=name, exec_id="e", spec=packed_spec(process, "Process"))
    return name


def test_one_client_has_taken_a_process_away(fallible: tuple[Daemon, Api], root: Path):
    _, api = fallible
    name = _with_exec(api, root)
    fields = {"container_id": name, "exec_id": "e"}
    asks = [(TASKS, "DeleteProcess", fields)] * CLIENTS
    found = outcomes(fallible, "container.tasks.exec_delete", *asks, actor=f"container/default/{name}")
    assert sorted(found) == ["NOT_FOUND"] * (CLIENTS - 1) + ["OK"]
    api.end(name)


def test_one_client_has_removed_a_container(fallible: tuple[Daemon, Api], root: Path):
    name = fallible[1].container(root, "true")
    asks = [(CONTAINERS, "Delete", {"id": name})] * CLIENTS
    found = outcomes(fallible, "container.containers.remove", *asks, actor=f"container/default/{name}")
    assert sorted(found) == ["NOT_FOUND"] * (CLIENTS - 1) + ["OK"]


def test_one_client_has_committed_it(fallible: tuple[Daemon, Api]):
    _, api = fallible
    key, name = (f"s{secrets.token_hex(4)}" for _ in range(2))
    api.ask(SNAPSHOTS, "Prepare", snapshotter="overlayfs", key=key, labels=KEPT)
    fields = {"snapshotter": "overlayfs", "key": key, "name": name, "labels": KEPT}
    found = outcomes(fallible, COMMITS, *[(SNAPSHOTS, "Commit", fields)] * CLIENTS)
    assert found.count("OK") == 1
    assert set(found) - {"OK"} <= {"ALREADY_EXISTS", "NOT_FOUND"}


def test_a_name_that_is_taken_costs_nobody_what_it_would_commit(fallible: tuple[Daemon, Api]):
    _, api = fallible
    keys, name = [f"s{secrets.token_hex(4)}" for _ in range(2)], f"s{secrets.token_hex(4)}"
    for key in keys:
        api.ask(SNAPSHOTS, "Prepare", snapshotter="overlayfs", key=key, labels=KEPT)
    fields = {"snapshotter": "overlayfs", "name": name, "labels": KEPT}
    found = outcomes(fallible, COMMITS, *((SNAPSHOTS, "Commit", {"key": key, **fields}) for key in keys))
    assert sorted(found) == ["ALREADY_EXISTS", "OK"]
    left = keys[found.index("ALREADY_EXISTS")]
    assert api.ask(SNAPSHOTS, "Stat", snapshotter="overlayfs", key=left).info.name == left


@pytest.mark.parametrize("kind", MADE)
def test_it_has_been_taken_away_whoever_dies_over_it(fallible: tuple[Daemon, Api], kind: str):
    daemon, api = fallible
    service, method, fields = MADE[kind](api)
    deaths = daemon.log.read_text().count("ended with status 9")
    daemon.actr("chaos", "set", DEADLY[kind], "kill(count=1)")
    api.ask(service, method, **fields)
    assert daemon.log.read_text().count("ended with status 9") == deaths + 1
    assert api.fails(service, method, **fields)[0] == "NOT_FOUND"


def test_a_process_has_been_taken_away_whoever_dies_over_it(fallible: tuple[Daemon, Api], root: Path):
    daemon, api = fallible
    name = _with_exec(api, root)
    fields = {"container_id": name, "exec_id": "e"}
    actor = f"container/default/{name}"
    daemon.actr("chaos", "set", "container.tasks.exec_delete.after", "kill(count=1)", "--actor", actor)
    assert api.task("DeleteProcess", **fields).id == "e"
    said = f"{actor} during run: killed by signal 9"
    wait_until("its death is reported", lambda: said in daemon.log.read_text())
    assert api.refused("DeleteProcess", **fields)[0] == "NOT_FOUND"
    api.end(name)


@pytest.mark.parametrize("where", ["containers.remove.after", "remove.wanted", "remove.forgotten"])
def test_a_container_has_been_removed_whoever_dies_over_it(
    fallible: tuple[Daemon, Api], root: Path, where: str
):
    daemon, api = fallible
    name = api.container(root, "true")
    daemon.actr("chaos", "set", f"container.{where}", "kill(count=1)", "--actor", f"container/default/{name}")
    api.ask(CONTAINERS, "Delete", id=name)
    said = f"container/default/{name} during run: killed by signal 9"
    wait_until("its death is reported", lambda: said in daemon.log.read_text())
    assert api.fails(CONTAINERS, "Delete", id=name)[0] == "NOT_FOUND"


def test_it_has_been_committed_whoever_dies_over_it(fallible: tuple[Daemon, Api]):
    daemon, api = fallible
    key, name = (f"s{secrets.token_hex(4)}" for _ in range(2))
    api.ask(SNAPSHOTS, "Prepare", snapshotter="overlayfs", key=key, labels=KEPT)
    daemon.actr("chaos", "set", f"{COMMITS}.after", "kill(count=1)")
    fields = {"snapshotter": "overlayfs", "key": key, "name": name, "labels": KEPT}
    api.ask(SNAPSHOTS, "Commit", **fields)
    assert api.ask(SNAPSHOTS, "Stat", snapshotter="overlayfs", key=name).info.kind == 3
    assert api.fails(SNAPSHOTS, "Commit", **fields)[0] == "ALREADY_EXISTS"
