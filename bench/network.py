"""How long it takes to connect a container: actord, the CNI bridge plugin run directly, and Docker.

All of them in a network namespace of the benchmark's own, so nobody else's rules or interfaces take part:

- actord: `network.attach` of a new container: its namespace, an interface on a bridge, an address, on record;
- CNI: `ip netns add`, then ADD of the bridge plugin with host-local addresses, as a runtime would run it;
- Docker: POST /networks/NAME/connect for one container that runs, so without a namespace; as often.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import tarfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actors.linux.libc import checked, libc
from actors.linux.threads import CLONE_NEWNET, unshare
from bench.pairs import Comparison
from bench.peers import Actord, Daemon
from transport.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CROWD: Final = 200
PLUGINS: Final = Path("/usr/lib/cni")
LIMIT: Final = 60.0  # seconds for one request


class Docker(Daemon):
    """Debian's dockerd, with a containerd of its own."""

    def command(self) -> list[str]:
        """Without the proxy: the kernel alone carries packets, as with the others."""
        at = {name: str(self.directory / name) for name in ("data", "exec", "pid")}
        return [
            "dockerd", "--data-root", at["data"], "--exec-root", at["exec"], "--pidfile", at["pid"],
            "--host", f"unix://{self.socket}", "--storage-driver", "vfs", "--userland-proxy=false",
        ]  # fmt: skip

    @property
    def socket(self) -> Path:
        """Where it serves."""
        return self.directory / "docker.sock"

    def client(self, *arguments: str) -> list[str]:
        """The docker command that does ARGUMENTS."""
        return ["docker", "--host", f"unix://{self.socket}", *arguments]

    def post(self, path: str, body: dict[str, Any]) -> None:
        """One request of the Engine API. Raises RuntimeError."""
        connection = http.client.HTTPConnection("docker")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.socket))
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        connection.close()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{path}: {answer.status} {text}")


@contextmanager
def _own_network() -> Iterator[None]:
    """This thread, and what it starts, in a new network namespace with its loopback up."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        unshare(CLONE_NEWNET)
        _run("ip", "link", "set", "lo", "up")
        yield
    finally:
        checked(libc.setns, ctypes.c_int(before), ctypes.c_int(CLONE_NEWNET))
        os.close(before)


def _run(*command: str, text: str = "", env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def measure(directory: Path, rounds: int) -> list[Comparison]:
    """ROUNDS times CROWD containers connected and removed; what is left afterwards is an error."""
    connect: dict[str, list[float]] = {}
    remove: dict[str, list[float]] = {}
    with _own_network():
        for name, measured in (("actord", _actord), ("CNI bridge", _cni), ("Docker", _docker)):
            found = measured(directory / name.split()[0].lower(), rounds)
            if found is not None:
                connect[name], remove[name] = found
    for name, values in connect.items():
        cuts = statistics.quantiles(values, n=100, method="inclusive")
        print(f"{name:12} connect: n={len(values)} median {statistics.median(values) * 1e3:.1f} ms, "
              f"p99 {cuts[98] * 1e3:.1f} ms")  # fmt: skip
    return [
        Comparison("connect one container", "ms", connect),
        Comparison("remove one container", "ms", remove),
    ]


Samples = tuple[list[float], list[float]]


def _rounds(
    rounds: int,
    crowd: int,
    connect: Callable[[str], object],
    remove: Callable[[str], object],
    left: Callable[[], int],
) -> Samples:
    """Each in its turn; the first container of all is not counted: it makes what is made once."""
    connect("first")
    remove("first")
    before = left()
    samples: Samples = ([], [])
    for _ in range(rounds):
        names = [f"c{number}" for number in range(crowd)]
        for work, took in ((connect, samples[0]), (remove, samples[1])):
            for name in names:
                began = time.perf_counter()
                work(name)
                took.append(time.perf_counter() - began)
        if left() != before:
            raise RuntimeError(f"{left()} interfaces, namespaces, rules and addresses instead of {before}")
    return samples


def _actord(directory: Path, rounds: int) -> Samples:
    with Actord(directory) as actord:
        client = Client(actord.address)
        state = Path(actord.address).parent

        def ask(op: str, **body: Any) -> dict[str, Any]:
            found: dict[str, Any] = client.request(op, body, to="network", limit=LIMIT)
            return found

        def left() -> int:
            ends: int = sum(one["endpoints"] for one in ask("network.list")["networks"])
            drift = len(ask("network.check")["findings"])
            spaces = len(list((state / "netns").iterdir()))
            held = len(list(Path(f"/proc/{_pid(actord)}/fd").iterdir()))
            return (
                len(_links())
                + len(_run("nft", "list", "ruleset").splitlines())
                + ends
                + drift
                + spaces
                + held
            )

        wish = {"networks": [{"network": "bridge"}]}
        try:
            return _rounds(
                rounds, CROWD,
                lambda name: ask("network.attach", namespace="default", id=name, wish=wish),
                lambda name: ask("network.detach", namespace="default", id=name),
                left,
            )  # fmt: skip
        finally:
            client.close()


def _pid(actord: Actord) -> int:
    actors: list[dict[str, Any]] = json.loads(actord.run("actors", "--format", "json"))
    return next(int(one["pid"]) for one in actors if one["name"] == "network")


def _links() -> list[str]:
    return _run("ip", "-o", "link").splitlines()


def _cni(directory: Path, rounds: int) -> Samples | None:
    if not (PLUGINS / "bridge").exists():
        print(f"CNI: skipped, {PLUGINS}/bridge is not there")
        return None
    directory.mkdir(parents=True)
    mark = f"bench{os.getpid()}"
    ranges = [[{"subnet": "10.197.0.0/16"}]]
    ipam = {
        "type": "host-local",
        "dataDir": str(directory),
        "ranges": ranges,
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    config = json.dumps({"cniVersion": "1.0.0", "name": "bench", "type": "bridge", "bridge": "cni0",
                         "isGateway": True, "ipMasq": True, "ipam": ipam})  # fmt: skip

    def plugin(verb: str, name: str) -> None:
        env = {
            "CNI_COMMAND": verb, "CNI_CONTAINERID": name, "CNI_NETNS": f"/run/netns/{mark}-{name}",
            "CNI_IFNAME": "eth0", "CNI_PATH": str(PLUGINS), "PATH": os.environ["PATH"],
        }  # fmt: skip
        _run(str(PLUGINS / "bridge"), text=config, env=env)

    def connect(name: str) -> None:
        _run("ip", "netns", "add", f"{mark}-{name}")
        plugin("ADD", name)

    def remove(name: str) -> None:
        plugin("DEL", name)
        _run("ip", "netns", "del", f"{mark}-{name}")

    return _rounds(rounds, CROWD, connect, remove, lambda: len(_links()))


def _docker(directory: Path, rounds: int) -> Samples | None:
    if shutil.which("dockerd") is None:
        print("Docker: skipped, there is no dockerd (package docker.io)")
        return None
    with Docker(directory) as docker:
        _import_busybox(docker)
        docker.run("network", "create", "bench")
        docker.run("run", "-d", "--name", "one", "busybox", "/busybox", "sleep", "3600")
        body = {"Container": "one"}
        try:
            return _rounds(
                rounds * CROWD, 1,
                lambda _: docker.post("/networks/bench/connect", body),
                lambda _: docker.post("/networks/bench/disconnect", body),
                lambda: len(_links()),
            )  # fmt: skip
        finally:
            docker.run("rm", "-f", "one")


def _import_busybox(docker: Docker) -> None:
    path = docker.directory / "busybox.tar"
    busybox = shutil.which("busybox") or str(Path(__file__).resolve().parents[1] / ".venv/bin/busybox")
    with tarfile.open(path, "w") as tar:
        tar.add(busybox, "busybox")
    docker.run("import", str(path), "busybox")
