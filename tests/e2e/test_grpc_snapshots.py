"""What a re-implementation of containerd's snapshots gets wrong, by a gRPC client of our own."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gateway_api import Api, serving
from test_grpc_leases import SNAPSHOTS, lease

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]
LAYERS = 128


@pytest.fixture
def held(api: Api) -> Iterator[Api]:
    """A client whose snapshots are held until the test has ended."""
    name = lease(api)
    yield api.within(lease=name)
    api.ask("containerd.services.leases.v1.Leases", "Delete", id=name, sync=True)


def ask(api: Api, method: str, **fields: Any) -> Any:
    return api.ask(SNAPSHOTS, method, snapshotter="overlayfs", **fields)


def fails(api: Api, method: str, **fields: Any) -> str:
    return api.fails(SNAPSHOTS, method, snapshotter="overlayfs", **fields)[0]


def names(count: int) -> list[str]:
    return [f"s{secrets.token_hex(6)}" for _ in range(count)]


def test_keys_are_a_namespace_s_own(held: Api):
    (key,) = names(1)
    ask(held, "Prepare", key=key)
    other = held.within(namespace="elsewhere")
    assert fails(other, "Stat", key=key) == "NOT_FOUND"
    ask(other, "Prepare", key=key, labels={"containerd.io/gc.root": "1"})
    assert fails(held, "Prepare", key=key) == "ALREADY_EXISTS"
    ask(other, "Remove", key=key)
    assert ask(held, "Stat", key=key).info.name == key


@pytest.mark.parametrize("method", ["Prepare", "View"])
def test_a_key_is_one_client_s(held: Api, method: str):
    """Of those who ask for it at the same time."""
    (key,) = names(1)
    asked = [held.begin(SNAPSHOTS, method, snapshotter="overlayfs", key=key) for _ in range(16)]
    assert sorted(one.code().name for one in asked) == ["ALREADY_EXISTS"] * 15 + ["OK"]


def test_a_key_is_its_client_s_whoever_dies_over_it(tmp: Path):
    """The snapshot is made, and its owner dies before it says so."""
    with serving(tmp, "--failpoints") as (daemon, api):
        daemon.actr("chaos", "set", "snapshots.snapshots.create.after", "kill(count=1)")
        made = ask(api, "Prepare", key="once", labels={"containerd.io/gc.root": "1"}).mounts
        assert "ended with status 9" in daemon.log.read_text()
        assert made == ask(api, "Mounts", key="once").mounts
        assert fails(api, "Prepare", key="once") == "ALREADY_EXISTS"


def test_labels_that_are_inherited(held: Api):
    key, layer, child = names(3)
    labels = {"containerd.io/snapshot/own": "1", "containerd.io/snapshot.ref": "r", "other": "x"}
    ask(held, "Prepare", key=key, labels=labels)
    ask(held, "Commit", key=key, name=layer, labels=labels)
    assert dict(ask(held, "Stat", key=layer).info.labels) == labels
    assert fails(held, "Stat", key=key) == "NOT_FOUND"
    ask(held, "Prepare", key=child, parent=layer, labels={"mine": "y"})
    found = ask(held, "Stat", key=child).info
    assert (found.parent, found.kind, dict(found.labels)) == (layer, 2, {"mine": "y"})


def test_a_parent_stays_and_has_been_committed(held: Api):
    key, layer, child = names(3)
    ask(held, "Prepare", key=key)
    assert fails(held, "Prepare", key=child, parent=key) == "INVALID_ARGUMENT"
    assert fails(held, "Prepare", key=child, parent="nothing") == "NOT_FOUND"
    ask(held, "Commit", key=key, name=layer)
    ask(held, "View", key=child, parent=layer)
    assert fails(held, "Remove", key=layer) == "FAILED_PRECONDITION"
    assert fails(held, "Commit", key=child, name="x") == "FAILED_PRECONDITION"
    ask(held, "Remove", key=child)
    ask(held, "Remove", key=layer)
    assert fails(held, "Remove", key=layer) == "NOT_FOUND"


def test_a_container_of_128_layers_starts(held: Api, root: Path):
    """The names of that many directories are longer than what the kernel takes."""
    parent = ""
    for number in range(LAYERS):
        key, layer = names(2)
        (mount,) = ask(held, "Prepare", key=key, parent=parent).mounts
        options = dict(one.partition("=")[::2] for one in mount.options)
        upper = Path(options.get("upperdir", mount.source))
        if number == 0:
            shutil.copytree(root, upper, symlinks=True, dirs_exist_ok=True)
        (upper / f"layer{number}").touch()
        ask(held, "Commit", key=key, name=layer)
        parent = layer
    (top,) = names(1)
    mounts = ask(held, "Prepare", key=top, parent=parent).mounts
    name = held.container(root, "sh", "-c", "exit $(ls -d /layer* | wc -l)")
    held.task("Create", container_id=name, rootfs=mounts)
    held.task("Start", container_id=name)
    assert held.task("Wait", container_id=name).exit_status == LAYERS
    held.end(name)
