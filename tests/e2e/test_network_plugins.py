"""CNI plugins of others, and the primitives for programs, on a real daemon."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from daemon import Daemon, wait_until

from transport.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]
SERVE = "mkdir -p /tmp/w; echo plugged > /tmp/w/x; httpd -f -p 80 -h /tmp/w"


def _run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False).stdout


def _list(directory: Path, name: str, *plugins: dict[str, Any]) -> Path:
    ipam = {"type": "host-local", "dataDir": str(directory / "ipam"), "routes": [{"dst": "0.0.0.0/0"}]}
    first = {**plugins[0], "ipam": {**ipam, "ranges": [[{"subnet": "10.198.7.0/24"}]]}}
    path = directory / f"{name}.conflist"
    path.write_text(json.dumps({"cniVersion": "1.0.0", "name": name, "plugins": [first, *plugins[1:]]}))
    return path


@pytest.fixture
def bridged(daemon: Daemon, tmp: Path) -> Iterator[Path]:
    """A network of the bridge, portmap and bandwidth plugins with host-local addresses."""
    path = _list(
        tmp, "plugged",
        {"type": "bridge", "bridge": "cnitest0", "isGateway": True, "ipMasq": True},
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
    )  # fmt: skip
    daemon.actr("network", "create", "plugged", "--kind", "cni", "--config", path)
    yield tmp
    for one in daemon.json("ps", "-a"):
        daemon.actr("rm", "-f", one["id"])
    daemon.actr("network", "rm", "plugged")
    _run("ip", "link", "del", "cnitest0")


def _leases(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "ipam/plugged").glob("10.*"))


def test_bridge_portmap_bandwidth_and_host_local(daemon: Daemon, busybox: str, bridged: Path):
    daemon.actr(
        "run", "-d", "--name", "a", "--net", "plugged,rate=10m", "-p", "18070:80", busybox, "sh", "-c", SERVE
    )
    assert "10.198.7.2/24" in daemon.actr("exec", "a", "ip", "addr").stdout
    fetch = ("curl", "-s", "-m", "3", "http://127.0.0.1:18070/x")
    wait_until("it serves", lambda: _run(*fetch) == "plugged\n")
    assert "tbf" in _run("tc", "qdisc", "show")
    assert _leases(bridged) == ["10.198.7.2"]
    found = daemon.json("network", "inspect", "plugged")[0]
    assert found["endpoints"][0]["addresses"] == ["10.198.7.2/24"]

    old = daemon.kill_actor("network")
    wait_until("healed", lambda: daemon.healed("network", old))
    assert _run(*fetch) == "plugged\n"
    daemon.actr("rm", "-f", "a")
    assert _leases(bridged) == []
    assert "18070" not in _run("iptables-save")
    assert list((daemon.root / "cni").iterdir()) == []


def test_check_asks_the_plugins(daemon: Daemon, busybox: str, bridged: Path):
    """Of version 1.1, CHECK of portmap wants rules that ADD does not make, bandwidth needs a rate."""
    del bridged
    daemon.actr("run", "-d", "--name", "a", "--net", "plugged,rate=10m", busybox, "sleep", "60")
    assert daemon.json("network", "check") == []
    _run("ip", "link", "del", "cnitest0")
    found = json.loads(daemon.actr("network", "check", "--format", "json", check=1).stdout)
    assert "cni plugin bridge CHECK" in found[0]["problem"]


def test_macvlan_with_host_local(daemon: Daemon, busybox: str, tmp: Path):
    _run("ip", "link", "add", "cniup0", "type", "veth", "peer", "name", "cniup1")
    try:
        path = _list(tmp, "plugged", {"type": "macvlan", "master": "cniup0"})
        daemon.actr("network", "create", "plugged", "--kind", "cni", "--config", path)
        said = daemon.actr(
            "run", "--rm", "--net", "plugged", busybox, "ip", "-o", "addr", "show", "eth0"
        ).stdout
        assert "10.198.7.2/24" in said
        daemon.actr("network", "rm", "plugged")
        assert _leases(tmp) == []
    finally:
        _run("ip", "link", "del", "cniup0")


def test_a_missing_plugin_is_named_and_leaves_nothing(daemon: Daemon, busybox: str, tmp: Path):
    path = _list(tmp, "plugged", {"type": "bridge", "bridge": "cnitest1"}, {"type": "no-such-plugin"})
    daemon.actr("network", "create", "plugged", "--kind", "cni", "--config", path)
    done = daemon.actr("run", "--rm", "--net", "plugged", busybox, "true", check=125)
    assert "cni plugin no-such-plugin is in none of /usr/lib/cni" in done.stderr
    assert _leases(tmp) == []
    assert daemon.json("ps", "-a") == []
    daemon.actr("network", "rm", "plugged")
    _run("ip", "link", "del", "cnitest1")


def with_plugins_at(daemon: Daemon, plugins: Path) -> Path:
    """Start it anew with a directory of plugins that a test may change."""
    plugins.mkdir()
    for name in ("bridge", "host-local"):
        shutil.copy(f"/usr/lib/cni/{name}", plugins)
    daemon.stop()
    daemon.settings += f'[network]\ncni_path = "{plugins}"\n'
    daemon.start()
    return plugins


def test_a_container_ends_and_goes_without_its_plugin(own_daemon: Daemon, busybox: str, tmp: Path):
    plugins = with_plugins_at(own_daemon, tmp / "plugins")
    path = _list(tmp, "plugged", {"type": "bridge", "bridge": "cnitest2"})
    own_daemon.actr("network", "create", "plugged", "--kind", "cni", "--config", path)
    own_daemon.actr("run", "-d", "--name", "a", "--net", "plugged", busybox, "sleep", "600")
    shutil.rmtree(plugins)
    own_daemon.actr("stop", "-t", "1", "a")
    assert own_daemon.json("ps", "-a")[0]["task"]["status"] == "stopped"
    own_daemon.actr("rm", "a")
    own_daemon.actr("network", "rm", "plugged")
    _run("ip", "link", "del", "cnitest2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cni configuration is not valid json"),
        ("{}", "wants `plugins`"),
        ('{"plugins": [{"type": "x"}], "cniVersion": "9", "name": "n"}', "cniVersion '9' is none of"),
        ('{"plugins": [{"type": "../sh"}], "cniVersion": "1.0.0", "name": "n"}', "'../sh' is not the name"),
    ],
)
def test_configurations_that_make_no_sense(daemon: Daemon, tmp: Path, text: str, said: str):
    path = tmp / "x.conflist"
    path.write_text(text)
    assert said in daemon.actr("network", "create", "x", "--kind", "cni", "--config", path, check=1).stderr


def test_primitives_build_two_hosts_that_reach_each_other(daemon: Daemon):
    with contextlib.closing(daemon.client()) as client:

        def ask(op: str, **body: Any) -> Any:
            return client.request(op, body, to="network")

        for name in ("left", "right"):
            path = ask("netns.create", name=name)["path"]
            assert Path(path).exists()
        ask("links.create", name="l0", kind="veth", netns="left", peer="r0")
        ask("links.change", name="r0", move_to="right")
        ask("links.change", name="l0", netns="left", addresses=["10.197.1.1/24"], up=True, mtu=1400)
        ask("links.change", name="r0", netns="right", addresses=["10.197.1.2/24"], up=True)
        ask("links.create", name="br0", kind="bridge", netns="right")
        links = {one["name"]: one for one in ask("links.list", netns="left")["links"]}
        assert (links["l0"]["mtu"], links["l0"]["addresses"]) == (1400, ["10.197.1.1/24"])
        done = ask("netns.run", netns="left", args=["ping", "-c", "1", "-W", "2", "10.197.1.2"])
        assert done["exit_code"] == 0, done
        assert ask("netns.run", netns="right", args=["cat"], stdin="text")["stdout"] == "text"
        with pytest.raises(RemoteError, match=r"sleep did not end within 0.2 seconds"):
            ask("netns.run", netns="left", args=["sleep", "60"], limit=0.2)
        with pytest.raises(RemoteError, match='network namespace "nowhere" not found'):
            ask("links.list", netns="nowhere")
        with pytest.raises(RemoteError, match="interface nobody is not there"):
            ask("links.change", name="nobody", netns="left", up=True)
        for name in ("left", "right"):
            ask("netns.remove", name=name)
            ask("netns.remove", name=name)
        assert ask("netns.list")["namespaces"] == []
