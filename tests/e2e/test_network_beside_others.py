"""Beside a real Docker daemon and a real firewalld: nobody gets into another's way."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import images
import pytest
from daemon import Daemon, running, wait_until

from actors.linux.threads import CLONE_NEWNET, in_own_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]

DOCKER_PORT = 18080


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


def _attach(daemon: Daemon, name: str, *ports: dict[str, Any]) -> str:
    """A namespace on the default network, without a container: there is no image here. Gives its path."""
    wish = {"networks": [{"network": "bridge"}], "ports": list(ports)}
    body = {"namespace": "default", "id": name, "wish": wish}
    with contextlib.closing(daemon.client()) as client:
        found: dict[str, Any] = client.request("network.attach", body, to="network", limit=30.0)
    return str(found["path"])


def _detach(daemon: Daemon, name: str) -> None:
    with contextlib.closing(daemon.client()) as client:
        client.request("network.detach", {"namespace": "default", "id": name}, to="network", limit=30.0)


def _reaches_out(path: str) -> bool:
    ping = ("ping", "-c", "2", "-i", "0.1", "-W", "2", "10.196.0.2")
    return " 0% packet loss" in _run("nsenter", f"--net={path}", *ping, check=False)


@contextlib.contextmanager
def _unbroken(path: str, spare: int = 0) -> Iterator[None]:
    """An echo request every 0.1 s from a namespace to the other host, none of which gets lost.

    But for `spare` single ones.
    """
    command = ["nsenter", f"--net={path}", "ping", "-i", "0.1", "-w", "200", "10.196.0.2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ping:
        try:
            yield
        finally:
            ping.send_signal(signal.SIGINT)
            said = ping.communicate(timeout=30)[0]
    answered = [int(number) for number in re.findall(r"icmp_seq=(\d+)", said)]
    gaps = [after - before for before, after in pairwise([0, *answered]) if after != before + 1]
    assert answered, said
    assert gaps in ([2] * count for count in range(spare + 1)), said


def _served(mark: str, port: int) -> str:
    """What a published port says to the other host; nothing when it does not answer."""
    url = f"http://10.196.0.1:{port}/x"
    return _run("ip", "netns", "exec", mark, "curl", "-sm", "5", url, check=False).strip()


class Containers:
    """Docker's, of one busybox, each a web server that says its name."""

    def __init__(self, directory: Path) -> None:
        self._docker = ("docker", "--host", f"unix://{directory}/sock")
        with tarfile.open(directory / "busybox.tar", "w") as tar:
            tar.add(images.busybox_binary(), "busybox")
        self("import", str(directory / "busybox.tar"), "busybox")

    def __call__(self, *words: str) -> str:
        return _run(*self._docker, *words).strip()

    def serve(self, name: str, port: int, *more: str) -> str:
        """Start one with a published port; the path of its network namespace."""
        script = f"/busybox mkdir /w; echo {name} > /w/x; exec /busybox httpd -f -p 80 -h /w"
        self(
            "run", "-d", "--name", name, "-p", f"{port}:80", *more, "busybox", "/busybox", "sh", "-c", script
        )
        return f"/proc/{self('inspect', '-f', '{{.State.Pid}}', name)}/ns/net"


def _beside(directory: Path) -> None:
    mark = f"d{os.urandom(3).hex()}"
    with contextlib.ExitStack() as undo:
        undo.enter_context(_docker(directory))
        _outside(mark)
        undo.callback(_run, "ip", "netns", "del", mark)
        docker = Containers(directory) if shutil.which("dockerd") else None
        if docker is None:
            _drops_and_says_how(undo, directory, mark, None)
            return
        undo.callback(docker, "rm", "-f", "web")
        theirs = docker.serve("web", DOCKER_PORT)
        wait_until("Docker's port answers", lambda: _served(mark, DOCKER_PORT) == "web")
        with _unbroken(theirs):
            _drops_and_says_how(undo, directory, mark, docker)
            assert _served(mark, DOCKER_PORT) == "web"


def _drops_and_says_how(
    undo: contextlib.ExitStack, directory: Path, mark: str, docker: Containers | None
) -> None:
    """Docker's policy drops what ours send, and `network check` says what would let it pass."""
    before = _rules("actord_")
    daemon = undo.enter_context(running(directory))
    path = _attach(daemon, "one")

    assert not _reaches_out(path)  # Docker's policy drops it, and no rule of ours could help
    said = daemon.actr("network", "check", "--format", "json", check=1).stdout
    (finding,) = json.loads(said)
    assert finding["object"] == "chain ip filter FORWARD"
    assert _rules("actord_") == before
    commands = finding["problem"].partition("to let it pass: ")[2].split("; ")
    for command in commands:
        assert command.startswith("iptables -I DOCKER-USER ")
        _run(*command.split())
    assert _reaches_out(path)
    assert daemon.json("network", "check") == []
    if docker is not None:
        _both_at_work(daemon, docker, path, mark)
    for command in commands:
        _run(*command.replace(" -I ", " -D ").split())
    _detach(daemon, "one")
    daemon.actr("network", "rm", "bridge")
    assert sorted(_rules("actord_")) == sorted(before)


def _both_at_work(daemon: Daemon, docker: Containers, path: str, mark: str) -> None:
    """Each publishes, connects, and takes away what it had, while the other one's traffic goes on."""
    with tempfile.TemporaryDirectory() as web, _published(daemon, Path(web)) as port:
        wait_until("our port answers", lambda: _served(mark, port) == "ours")
        (table,) = re.findall(r"^table inet (actord_\w+) ", _run("nft", "list", "ruleset"), re.MULTILINE)
        _run("nft", "flush", "table", "inet", table)
        daemon.actr("network", "check", "--mend")
        assert (_served(mark, port), _served(mark, DOCKER_PORT)) == ("ours", "web")
        # Docker 20.10 takes its jump to DOCKER-USER out and puts it in again with each network that it makes;
        # in between, its policy drops what only that chain lets pass.
        with _unbroken(path, spare=1):
            docker("network", "create", "second")
            docker("network", "connect", "second", "web")
            docker.serve("more", DOCKER_PORT + 1, "--network", "second")
            wait_until("its port answers", lambda: _served(mark, DOCKER_PORT + 1) == "more")
            assert _served(mark, port) == "ours"
            docker("rm", "-f", "more")
            docker("network", "disconnect", "second", "web")
            docker("network", "rm", "second")
        assert (_served(mark, port), _served(mark, DOCKER_PORT)) == ("ours", "web")
    assert not _served(mark, port)


@contextlib.contextmanager
def _published(daemon: Daemon, web: Path) -> Iterator[int]:
    """A web server in a namespace of actord's, and its port on the host."""
    (web / "x").write_text("ours")
    path = _attach(daemon, "served", {"container_port": 80})
    with contextlib.closing(daemon.client()) as client:
        found = client.request("network.ports", {"namespace": "default", "id": "served"}, to="network")
    serve = [str(images.busybox_binary()), "httpd", "-f", "-p", "80", "-h", str(web)]
    server = subprocess.Popen(["nsenter", f"--net={path}", *serve])
    try:
        yield int(found["ports"][0]["host_port"])
    finally:
        server.terminate()
        server.wait(30)
        _detach(daemon, "served")


def test_docker_and_actord_side_by_side(short_root: Path):
    directory = Path(tempfile.mkdtemp(prefix="d-", dir=short_root))
    in_own_thread(CLONE_NEWNET, lambda: _beside(directory))


BUS = """<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/>
<allow receive_sender="*"/></policy></busconfig>"""


@contextlib.contextmanager
def _started(*command: str | Path) -> Iterator[None]:
    """A program in the background, that ends with the block."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def _firewalld(directory: Path) -> Iterator[Callable[..., str]]:
    """With a bus of its own and a copy of the settings; gives firewall-cmd."""
    _run("ip", "link", "set", "lo", "up")
    address = directory / "bus"
    (directory / "bus.conf").write_text(BUS.format(path=address))
    shutil.copytree("/etc/firewalld", directory / "etc")
    own = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={address}"}

    def command(*words: str) -> str:
        return _run(
            "env", *(f"{key}={value}" for key, value in own.items()), "firewall-cmd", *words, check=False
        )

    bus = ("dbus-daemon", f"--config-file={directory}/bus.conf", "--nofork", "--nopidfile")
    log = (f"--log-file={directory}/firewalld.log", f"--system-config={directory}/etc")
    with _started(*bus):
        wait_until("the bus is there", address.exists)
        with _started("env", *(f"{k}={v}" for k, v in own.items()), "firewalld", "--nofork", "--nopid", *log):
            wait_until("firewalld is up", lambda: command("--state").strip() == "running", 60)
            yield command


def _beside_firewalld(directory: Path) -> None:
    mark = f"f{os.urandom(3).hex()}"
    with contextlib.ExitStack() as undo:
        firewall = undo.enter_context(_firewalld(directory))
        _outside(mark)
        undo.callback(_run, "ip", "netns", "del", mark)
        before = _rules("actord_")
        daemon = undo.enter_context(running(directory))
        with tempfile.TemporaryDirectory() as web, _published(daemon, Path(web)) as port:
            # firewalld lets through what was published
            wait_until("our port answers", lambda: _served(mark, port) == "ours")
            path = f"{daemon.state}/netns/default+served"
            assert not _reaches_out(path)
            (finding,) = json.loads(daemon.actr("network", "check", "--format", "json", check=1).stdout)
            assert finding["object"] == "table inet firewalld"
            assert _rules("actord_") == before
            for line in finding["problem"].partition("to let it pass: ")[2].split("; "):
                assert firewall(*line.split()[1:]).strip() == "success"
            assert _reaches_out(path)
            assert daemon.json("network", "check") == []
            assert firewall("--reload").strip() == "success"
            assert _served(mark, port) == "ours"


@pytest.mark.skipif(shutil.which("firewalld") is None, reason="there is no firewalld (package firewalld)")
def test_firewalld_and_actord_side_by_side(short_root: Path):
    directory = Path(tempfile.mkdtemp(prefix="f-", dir=short_root))
    in_own_thread(CLONE_NEWNET, lambda: _beside_firewalld(directory))
