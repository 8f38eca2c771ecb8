"""Beside a real Docker daemon, in a network namespace of their own: neither gets into the other's way."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from daemon import Daemon, running, wait_until

from actors.linux.threads import CLONE_NEWNET, in_own_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]


def _run(*words: str | Path, check: bool = True) -> str:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=60, check=False)
    assert not check or done.returncode == 0, (words, done.stderr)
    return done.stdout


def _rules(own: str) -> list[str]:
    """Of everybody else, without counters."""
    text = _run("nft", "-s", "list", "ruleset")
    text = re.sub(rf"table inet {own}\w* {{.*?^}}\n", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"counter packets \d+ bytes \d+", "counter", text).splitlines()


@contextlib.contextmanager
def _docker(directory: Path) -> Iterator[None]:
    """Debian's, with its own bridge and rules; without it, a policy as it sets one."""
    _run("ip", "link", "set", "lo", "up")
    _run("sysctl", "-w", "net.ipv4.ip_forward=0")  # Docker sets its policy if it has to turn forwarding on
    if shutil.which("dockerd") is None:
        sys.stderr.write("there is no dockerd (package docker.io): only the policy that it sets is tested\n")
        _run("iptables", "-N", "DOCKER-USER")
        _run("iptables", "-A", "FORWARD", "-j", "DOCKER-USER")
        _run("iptables", "-P", "FORWARD", "DROP")
        yield
        return
    with (directory / "docker.log").open("wb") as log:
        daemon = subprocess.Popen(
            ["dockerd", "--data-root", directory / "data", "--exec-root", directory / "exec", "--pidfile",
             directory / "pid", "--host", f"unix://{directory}/sock", "--storage-driver", "vfs",
             "--userland-proxy=false"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        up = ("docker", "--host", f"unix://{directory}/sock", "info")
        wait_until("dockerd is up", lambda: "Storage Driver: vfs" in _run(*up, check=False), 60)
        yield
    finally:
        daemon.terminate()
        daemon.wait(60)


def _outside(mark: str) -> None:
    """Another host behind a pair."""
    _run("ip", "netns", "add", mark)
    _run("ip", "link", "add", "out0", "type", "veth", "peer", "name", "up0", "netns", mark)
    _run("ip", "addr", "add", "10.196.0.1/24", "dev", "out0")
    _run("ip", "link", "set", "out0", "up")
    _run("ip", "-n", mark, "addr", "add", "10.196.0.2/24", "dev", "up0")
    _run("ip", "-n", mark, "link", "set", "up0", "up")


def _attach(daemon: Daemon, name: str) -> str:
    """A namespace on the default network, without a container: there is no image here. Gives its path."""
    body = {"namespace": "default", "id": name, "wish": {"networks": [{"network": "bridge"}]}}
    with contextlib.closing(daemon.client()) as client:
        found: dict[str, Any] = client.request("network.attach", body, to="network", limit=30.0)
    return str(found["path"])


def _detach(daemon: Daemon, name: str) -> None:
    with contextlib.closing(daemon.client()) as client:
        client.request("network.detach", {"namespace": "default", "id": name}, to="network", limit=30.0)


def _beside(directory: Path) -> None:
    mark = f"d{os.urandom(3).hex()}"
    with contextlib.ExitStack() as undo:
        undo.enter_context(_docker(directory))
        _outside(mark)
        undo.callback(_run, "ip", "netns", "del", mark)
        before = _rules("actord_")
        daemon = undo.enter_context(running(directory))
        path = _attach(daemon, "one")

        def out() -> bool:
            ping = ("ping", "-c", "2", "-i", "0.1", "-W", "2", "10.196.0.2")
            return " 0% packet loss" in _run("nsenter", f"--net={path}", *ping, check=False)

        assert not out()  # Docker's policy drops it, and no rule of ours could help
        said = daemon.actr("network", "check", "--format", "json", check=1).stdout
        (finding,) = json.loads(said)
        assert finding["object"] == "chain ip filter FORWARD"
        assert _rules("actord_") == before
        commands = finding["problem"].partition("to let it pass: ")[2].split("; ")
        for command in commands:
            assert command.startswith("iptables -I DOCKER-USER ")
            _run(*command.split())
        assert out()
        assert daemon.json("network", "check") == []
        for command in commands:
            _run(*command.replace(" -I ", " -D ").split())
        _detach(daemon, "one")
        daemon.actr("network", "rm", "bridge")
        assert _rules("actord_") == before


def test_docker_and_actord_side_by_side(short_root: Path):
    directory = Path(tempfile.mkdtemp(prefix="d-", dir=short_root))
    in_own_thread(CLONE_NEWNET, lambda: _beside(directory))
