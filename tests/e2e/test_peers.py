"""Blobs from the nodes that have them instead of from a registry far away; and nodes that break off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemon import wait_until
from lab import AT, Lab, lab

from chaos import left

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]
MIB = 1 << 20
RATE = "160mbit"  # of the registry's wire: 20 MB/s


@pytest.fixture(scope="module")
def town(short_root: Path) -> Iterator[Lab]:
    with lab(3, short_root / "peers", "range_bytes = 8388608\n") as found:
        yield found


def moved(town: Lab, megabytes: int, rate: str) -> tuple[float, float]:
    """An image from the registry to h1, from there to h2, and from the registry to h2 behind a slow wire.

    Seconds that the last two have taken.
    """
    image = town.publish(f"moved-{megabytes}", *[megabytes * MIB // 4] * 4)
    town.actr("h1", "pull", "-q", image)
    sees_h1(town)
    town.hosts.slow("registry", rate=rate)
    before = town.fetched()
    began = time.monotonic()
    said = town.actr("h2", "pull", image)
    near = time.monotonic() - began
    assert "from node h1" in said
    assert town.fetched() == before, "no blob came from the registry"
    assert town.sound("h2")["damaged"] == []
    assert town.blobs("h2") == town.blobs("h1")
    sent = sum(town.blobs("h2").values())
    town.forget("h1", image)
    town.forget("h2", image)
    began = time.monotonic()
    assert f"from {AT}" in town.actr("h2", "pull", image)
    far = time.monotonic() - began
    town.hosts.heal()
    town.forget("h2", image)
    print(  # noqa: T201  # the figures that the long version is run for
        f"\n{sent / 1e6:.0f} MB: from a peer {near:.1f} s, {sent / near / 1e6:.0f} MB/s; "
        f"from the registry behind {rate} {far:.1f} s, {sent / far / 1e6:.0f} MB/s"
    )
    return near, far


def test_an_image_comes_from_the_node_that_has_it(town: Lab):
    moved(town, 48, RATE)


@pytest.fixture(scope="module")
def image(town: Lab) -> str:
    """One that h1 has, too."""
    found = town.publish("broken", 24 * MIB)
    town.actr("h1", "pull", "-q", found)
    return found


def sees_h1(town: Lab) -> None:
    """Wait until h2 takes h1 for up: a node that it takes for down is not asked."""

    def state() -> str:
        nodes = town.hosts["h2"].ask("nodes.list", "nodes")["nodes"]
        return next(one["state"] for one in nodes if one["name"] == "h1")

    wait_until("h1 is up for h2", lambda: state() == "up", 60)


def halfway(town: Lab, image: str, *words: str) -> tuple[subprocess.Popen[str], int]:
    """A pull at h2 from h1 that has got some of the large layer, over a wire that takes a while."""
    sees_h1(town)
    town.hosts.slow("h1", rate="40mbit", way="out")
    pulling = town.begin("h2", "pull", *words, image)

    def offset() -> int:
        found = json.loads(town.actr("h2", "content", "ingests", "--format", "json"))
        return max((one["offset"] for one in found if one["total"] > 24 * MIB), default=0)

    return pulling, wait_until("some of it has come", lambda: offset() > 2 * MIB and offset())


def finished(town: Lab, pulling: subprocess.Popen[str]) -> str:
    said, _ = pulling.communicate(timeout=120)
    assert pulling.returncode == 0, said
    assert town.blobs("h2") == town.blobs("h1")
    assert town.sound("h2")["damaged"] == []
    return said


@pytest.mark.parametrize("fault", ["cut", "frozen", "killed"])
def test_a_node_that_breaks_off_is_left_for_the_registry_which_sends_the_rest(
    town: Lab, image: str, fault: str
):
    before, peer = town.fetched(), town.hosts["h1"]
    pulling, had = halfway(town, image)
    if fault == "cut":
        town.hosts.cut("h1", "h2")
    elif fault == "frozen":
        peer.freeze()
    else:  # all but the zygote, which has them started again
        left.signal_all(peer.tree()[1:], signal.SIGKILL)
    try:
        wait_until("it is done", lambda: pulling.poll() is not None, 120)
    finally:
        town.hosts.heal()
        peer.thaw()
    wait_until("the node is back", peer.answers)
    assert "from node h1" in finished(town, pulling)
    assert 0 < town.fetched() - before <= sum(town.blobs("h2").values()) - had
    town.forget("h2", image)


def test_a_pull_that_is_killed_goes_on_where_it_was(town: Lab, image: str):
    before = town.fetched()
    pulling, had = halfway(town, image)
    [puller] = [
        one
        for one in town.hosts["h2"].ask("introspection.actors", "supervisor")["actors"]
        if one["name"].startswith("puller/")
    ]
    os.kill(puller["pid"], signal.SIGKILL)
    town.hosts.heal()
    said = finished(town, pulling)
    assert "from node h1" in said
    assert town.fetched() == before
    assert had > 0
    town.forget("h2", image)


def test_a_node_that_is_named_needs_no_registry_and_a_wire_may_break(town: Lab, image: str):
    town.hosts.cut("h2", "registry")
    log = town.hosts["h2"].directory / "log"
    before = log.read_text().count("node h1: ")
    pulling, _ = halfway(town, image, "--from", "h1")
    town.hosts.wires.cut("h1", "h2")
    wait_until("it has noticed", lambda: log.read_text().count("node h1: ") > before, 60)
    town.hosts.heal()
    town.hosts.cut("h2", "registry")
    finished(town, pulling)
    town.hosts.heal()
    assert "hello" in town.actr("h2", "run", "--rm", image, "echo", "hello")
    town.forget("h2", image)
    assert f'node h3: image "{image}" not found' in town.actr("h2", "pull", "--from", "h3", image, check=1)
    assert "no node is named h9" in town.actr("h2", "pull", "--from", "h9", image, check=1)


def test_wrong_bytes_of_a_node_are_not_taken(town: Lab, image: str):
    sees_h1(town)
    before = town.fetched()
    found = town.hosts["h1"].ask("content.list", "content")["blobs"]
    path = max(found, key=lambda one: one["size"])["path"]
    with Path(path).open("r+b") as blob:
        right = os.pread(blob.fileno(), 1, 12 * MIB)
        os.pwrite(blob.fileno(), bytes([right[0] ^ 1]), 12 * MIB)
        try:
            town.actr("h2", "pull", image)
        finally:
            os.pwrite(blob.fileno(), right, 12 * MIB)
    assert town.sound("h2")["damaged"] == []
    assert town.fetched() - before >= 24 * MIB
    town.forget("h2", image)


@pytest.mark.slow
def test_two_gigabytes_come_from_a_node_faster_than_from_a_far_registry(town: Lab):
    near, far = moved(town, int(os.environ.get("ACTORD_TEST_PEER_MEGABYTES", "2000")), RATE)
    assert near < far
