"""Several hosts: every command at another node by its name; links that are cut and healed, hosts that die."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import images
import pytest
from daemon import CHECKOUT, wait_until

from chaos.hosts import Hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
NAME = "docker.io/library/busybox:latest"


@pytest.fixture(scope="module")
def hosts(short_root: Path) -> Iterator[Hosts]:
    directory = short_root / "hosts"
    layout = images.busybox(directory / "layout", "latest").directory
    with Hosts(3, directory) as three:
        for host in three.hosts:
            words = [
                CHECKOUT / "bin/actr",
                "--address",
                host.socket,
                "load",
                "-q",
                "--base-name",
                "busybox",
                "-i",
                layout,
            ]
            subprocess.run(words, check=True, capture_output=True, timeout=60)
        yield three


def actr(hosts: Hosts, *words: str, at: str = "h1", check: int = 0) -> str:
    """On that host."""
    done = subprocess.run(
        [*hosts[at].inside(), CHECKOUT / "bin/actr", "--address", hosts[at].socket, *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == check, (words, done.stdout, done.stderr)
    return done.stdout + done.stderr


def states(hosts: Hosts, at: str = "h1") -> dict[str, str]:
    found: list[dict[str, Any]] = json.loads(actr(hosts, "node", "ls", "--format", "json", at=at))
    return {one["name"]: one["state"] for one in found}


def becomes(hosts: Hosts, at: str = "h1", **wanted: str) -> None:
    """Wait until that host thinks so of those nodes."""
    wait_until(f"{at} sees {wanted}", lambda: wanted.items() <= states(hosts, at).items(), 60)


def test_every_node_is_reached_from_every_other(hosts: Hosts):
    for host in hosts.hosts:
        becomes(hosts, at=host.name, **dict.fromkeys(("h1", "h2", "h3"), "up"))
    assert actr(hosts, "--node", "h2", "run", "--rm", NAME, "echo", "from h2") == "from h2\n"
    assert actr(hosts, "--node", "h3", "run", "--rm", NAME, "sh", "-c", "exit 7", check=7) == ""
    assert "no node is named h9" in actr(hosts, "--node", "h9", "ps", check=1)
    assert "h1 is this node's own name" in actr(
        hosts, "node", "join", "--name", "h1", own_connection(hosts), check=1
    )


def own_connection(hosts: Hosts) -> str:
    """A connection file to h2, made there."""
    path = hosts.directory / "extra.json"
    path.unlink(missing_ok=True)
    actr(hosts, "keys", "new", "extra", "-o", str(path), at="h2")
    moved = hosts.directory / "reachable.json"
    moved.write_text(path.read_text())
    return str(moved)


def test_containers_of_all_nodes_in_one_table(hosts: Hosts):
    for name in ("h1", "h2", "h3"):
        actr(hosts, "--node", name, "run", "-d", "--name", f"at-{name}", NAME, "sleep", "300")
    found = json.loads(actr(hosts, "ps", "--all-nodes", "--format", "json"))
    assert {one["name"]: one["node"] for one in found} == {f"at-{name}": name for name in ("h1", "h2", "h3")}
    assert actr(hosts, "--node", "h2", "exec", "at-h2", "echo", "there") == "there\n"
    for name in ("h1", "h2", "h3"):
        actr(hosts, "--node", name, "rm", "-f", f"at-{name}")


def test_a_link_that_is_cut_is_noticed_and_heals_and_the_container_never_knew(hosts: Hosts):
    script = "i=0; while true; do i=$((i+1)); echo $i; sleep 0.1; done"
    actr(hosts, "--node", "h2", "run", "-d", "--name", "counts", NAME, "sh", "-c", script)
    hosts.cut("h1", "h2")
    try:
        becomes(hosts, h1="up", h2="down", h3="up")
        becomes(hosts, at="h2", h1="down", h2="up", h3="up")
        becomes(hosts, at="h3", **dict.fromkeys(("h1", "h2", "h3"), "up"))
        done = actr(hosts, "--node", "h2", "ps", check=1)
        assert "tcp://10.77.0.2:7400" in done
        left_out = actr(hosts, "ps", "--all-nodes", at="h1", check=1)
        assert "node h2 is left out" in left_out
    finally:
        hosts.heal()
    becomes(hosts, h2="up")
    becomes(hosts, at="h2", h1="up")
    lines = actr(hosts, "--node", "h2", "logs", "counts").splitlines()
    assert lines == [str(number) for number in range(1, len(lines) + 1)]
    actr(hosts, "--node", "h2", "rm", "-f", "counts")


def test_a_slow_link_is_not_a_dead_one(hosts: Hosts):
    journal = ("events", "-A", "--no-follow", "--topic", "/nodes/down", "--format", "json")
    becomes(hosts, h3="up")
    before = actr(hosts, *journal)
    hosts.slow("h1", rate="256kbit")
    try:
        script = "head -c 150000 /dev/zero | tr '\\0' x"
        assert len(actr(hosts, "--node", "h3", "run", "--rm", NAME, "sh", "-c", script)) == 150_000
    finally:
        hosts.heal()
    assert actr(hosts, *journal) == before


def test_a_host_whose_daemon_is_killed_comes_back_with_its_containers(tmp: Path):
    layout = images.busybox(tmp / "layout", "latest").directory
    with Hosts(2, tmp) as pair:
        actr(pair, "load", "-q", "--base-name", "busybox", "-i", str(layout), at="h2")
        actr(pair, "--node", "h2", "run", "-d", "--name", "lives", NAME, "sleep", "300")
        [before] = json.loads(actr(pair, "--node", "h2", "ps", "--format", "json"))
        pair["h2"].kill()
        becomes(pair, h2="down")
        pair["h2"].start()
        becomes(pair, h2="up")
        [after] = json.loads(actr(pair, "--node", "h2", "ps", "--format", "json"))
        assert after["task"]["pid"] == before["task"]["pid"]


def test_a_frozen_host_is_unreachable_and_thaws(hosts: Hosts):
    hosts["h2"].freeze()
    try:
        becomes(hosts, h2="down", h3="up")
    finally:
        hosts["h2"].thaw()
    becomes(hosts, h2="up")
    becomes(hosts, at="h2", h1="up", h3="up")


def test_a_shell_among_hosts():
    words = [CHECKOUT / "bin/hosts", "2", "--", "sh", "-c", "actr node ls && actr --node h2 info"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("10.77.0.2:7400") == 1
    assert "node" in done.stdout
