"""Two daemons on two hosts, which are network namespaces: a network of both, and one that is outside."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from daemon import Daemon

from actors.linux.links import within

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]
Result = TypeVar("Result")


def _run(*words: str | Path, check: bool = True) -> str:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=60, check=False)
    assert not check or done.returncode == 0, (words, done.stderr)
    return done.stdout


class Host:
    """A network namespace with a daemon in it; containers are namespaces without a process."""

    def __init__(self, name: str, address: str, directory: Path) -> None:
        self.name, self.address = name, address
        self.daemon = Daemon(directory)

    def inside(self, work: Callable[[], Result]) -> Result:
        return within(Path("/run/netns", self.name), work)

    def ip(self, *words: str) -> str:
        return _run("ip", "-n", self.name, *words)

    def ask(self, op: str, **body: Any) -> dict[str, Any]:
        with contextlib.closing(self.daemon.client()) as client:
            found: dict[str, Any] = client.request(op, body, to="network", limit=30.0)
        return found

    def attach(self, container: str, network: str) -> str:
        wish = {"networks": [{"network": network}]}
        return str(self.ask("network.attach", namespace="default", id=container, wish=wish)["path"])

    def leave(self, network: str) -> None:
        for end in self.ask("network.get", name=network)["endpoints"]:
            self.ask("network.detach", namespace="default", id=end["container"])
        self.ask("network.remove", name=network)

    def links(self) -> list[str]:
        return sorted(line.split()[0].partition("@")[0] for line in self.ip("-br", "link").splitlines())


def _reaches(path: str, address: str) -> bool:
    ping = ("ping", "-c", "2", "-i", "0.1", "-W", "3", address)
    return " 0% packet loss" in _run("nsenter", f"--net={path}", *ping, check=False)


@pytest.fixture
def hosts(short_root: Path) -> Iterator[tuple[Host, Host]]:
    """Joined by a wire, `w0` on either side."""
    mark = os.urandom(3).hex()
    pair = tuple(
        Host(f"{side}{mark}", f"10.194.0.{number}", Path(tempfile.mkdtemp(prefix="h-", dir=short_root)))
        for number, side in enumerate("ab", 1)
    )
    with contextlib.ExitStack() as undo:
        for host in pair:
            _run("ip", "netns", "add", host.name)
            undo.callback(_run, "ip", "netns", "del", host.name)
            host.ip("link", "set", "lo", "up")
        pair[0].ip("link", "add", "w0", "type", "veth", "peer", "name", "w0", "netns", pair[1].name)
        for host in pair:
            host.ip("addr", "add", f"{host.address}/24", "dev", "w0")
            host.ip("link", "set", "w0", "up")
            host.inside(host.daemon.start)
            undo.callback(host.daemon.clean_up)
        yield pair[0], pair[1]


def test_a_network_spans_two_hosts(hosts: tuple[Host, Host]):
    before = [host.links() for host in hosts]
    paths = []
    for number, (host, other) in enumerate((hosts, hosts[::-1])):
        host.ask(
            "network.create", name="wide", kind="vxlan", subnets=["10.195.0.0/24"],
            gateways=[f"10.195.0.{number * 128 + 1}"], ranges=[f"10.195.0.{number * 128}/25"],
            options={"vni": 77, "local": host.address, "remotes": [other.address]},
        )  # fmt: skip
        paths.append(host.attach("one", "wide"))
    ends = [host.ask("network.get", name="wide")["endpoints"][0]["addresses"][0] for host in hosts]
    addresses = [end.partition("/")[0] for end in ends]
    assert addresses[0] != addresses[1]
    assert _reaches(paths[0], addresses[1])
    assert _reaches(paths[1], addresses[0])
    hosts[0].daemon.kill_actor("network")
    assert _reaches(paths[0], addresses[1])
    for host in hosts:
        assert host.ask("network.check")["findings"] == []
        host.leave("wide")
    assert [host.links() for host in hosts] == before


def test_macvlan_is_on_the_network_outside(hosts: tuple[Host, Host]):
    host, other = hosts
    before = host.links()
    host.ask("network.create", name="out", kind="macvlan", parent="w0", subnets=["10.194.0.0/24"],
             gateways=["10.194.0.2"], ranges=["10.194.0.64/26"])  # fmt: skip
    paths = [host.attach(name, "out") for name in ("one", "two")]
    ends = host.ask("network.get", name="out")["endpoints"]
    assert _reaches(paths[0], other.address)
    assert _reaches(paths[0], ends[1]["addresses"][0].partition("/")[0])
    assert host.ask("network.check")["findings"] == []
    host.leave("out")
    assert host.links() == before
    assert list((host.daemon.state / "netns").iterdir()) == []
