"""Plugins of others that refuse to take back what they have made for a container."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemon import Daemon, wait_until
from test_network_plugins import with_plugins_at

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]
REFUSES = """#!/bin/sh
[ "$CNI_COMMAND" = DEL ] || exec "$0.real"
echo '{"cniVersion": "1.0.0", "code": 11, "msg": "try again", "details": "the fabric is away"}'
exit 1
"""
SAID = "cni plugin bridge DEL: try again the fabric is away"


@pytest.fixture
def plugged(own_daemon: Daemon, tmp: Path) -> Iterator[Daemon]:
    """A daemon with a network of the bridge plugin, and a container `a` on it, at 10.198.8.2."""
    with_plugins_at(own_daemon, tmp / "plugins")
    ipam = {"type": "host-local", "dataDir": str(tmp / "ipam"), "ranges": [[{"subnet": "10.198.8.0/29"}]]}
    bridge = {"type": "bridge", "bridge": "cnitest3", "ipam": ipam}
    path = tmp / "plugged.conflist"
    path.write_text(json.dumps({"cniVersion": "1.0.0", "name": "plugged", "plugins": [bridge]}))
    own_daemon.actr("network", "create", "plugged", "--kind", "cni", "--config", path)
    yield own_daemon
    subprocess.run(["ip", "link", "del", "cnitest3"], capture_output=True, check=False)


def _refuse(tmp: Path) -> None:
    plugin = tmp / "plugins/bridge"
    plugin.rename(plugin.with_name("bridge.real"))
    plugin.write_text(REFUSES)
    plugin.chmod(0o755)


def _give_in(tmp: Path) -> None:
    (tmp / "plugins/bridge.real").rename(tmp / "plugins/bridge")


def _leases(tmp: Path) -> list[str]:
    return sorted(path.name for path in (tmp / "ipam/plugged").glob("10.*"))


def test_a_container_ends_and_goes_though_its_plugin_refuses(plugged: Daemon, busybox: str, tmp: Path):
    plugged.actr("run", "-d", "--name", "a", "--net", "plugged", busybox, "sleep", "600")
    _refuse(tmp)
    plugged.actr("stop", "-t", "1", "a")
    wait_until("it is cleaned up", lambda: not list((plugged.state / "netns").iterdir()))
    refused = plugged.actr("start", "a", check=125).stderr
    assert SAID in refused
    done = plugged.actr("rm", "a")
    assert SAID in done.stderr
    assert "10.198.8.2" in done.stderr
    assert plugged.json("ps", "-a") == []
    found = json.loads(plugged.actr("network", "check", "--format", "json", check=1).stdout)
    assert SAID in found[0]["problem"]
    assert "has what a had of it" in plugged.actr("network", "rm", "plugged", check=1).stderr

    old = plugged.kill_actor("network")
    wait_until("healed", lambda: plugged.healed("network", old))
    wait_until("it was tried again", lambda: plugged.actr("network", "check", check=None).returncode == 1)

    _give_in(tmp)
    plugged.actr("run", "-d", "--name", "b", "--net", "plugged", busybox, "sleep", "600")
    assert "10.198.8.2/" not in plugged.actr("exec", "b", "ip", "addr").stdout
    plugged.actr("network", "prune")
    wait_until("it is taken back", lambda: _leases(tmp) == ["10.198.8.3"])
    assert plugged.json("network", "check") == []
    plugged.actr("rm", "-f", "b")
    plugged.actr("network", "rm", "plugged")
