"""Networks of real containers: who reaches whom, what survives a crash, what is left."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from daemon import Daemon, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
SERVE = "mkdir -p /tmp/w; hostname > /tmp/w/x; httpd -f -p 80 -h /tmp/w"


def _run(*words: str | Path, check: bool = True) -> str:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=60, check=False)
    assert not check or done.returncode == 0, (words, done.stderr)
    return done.stdout


class Town:
    """A daemon with a server on a network, and another host: a namespace at the end of a pair."""

    def __init__(self, daemon: Daemon, image: str) -> None:
        self.daemon, self.image = daemon, image
        mark = os.urandom(3).hex()
        self.outside, self.wire = f"h{mark}", f"w{mark}"
        self.subnet = f"10.{200 + os.urandom(1)[0] % 50}.{os.urandom(1)[0]}"

    def up(self) -> None:
        """The other host knows this one only: no way to the containers but through it."""
        _run("ip", "netns", "add", self.outside)
        _run("ip", "link", "add", self.wire, "type", "veth", "peer", "name", "up0", "netns", self.outside)
        _run("ip", "addr", "add", f"{self.subnet}.1/24", "dev", self.wire)
        _run("ip", "addr", "add", "fd77::1/64", "dev", self.wire, "nodad")
        _run("ip", "link", "set", self.wire, "up")
        inside = ("ip", "-n", self.outside)
        _run(*inside, "addr", "add", f"{self.subnet}.2/24", "dev", "up0")
        _run(*inside, "addr", "add", "fd77::2/64", "dev", "up0", "nodad")
        _run(*inside, "link", "set", "up0", "up")
        _run(*inside, "link", "set", "lo", "up")

    def down(self) -> None:
        """Everything that was made, gone."""
        _run("ip", "link", "del", self.wire, check=False)
        _run("ip", "netns", "del", self.outside, check=False)

    def actr(self, *words: str, **how: Any) -> str:
        return self.daemon.actr(*words, **how).stdout

    def serve(self, name: str, *options: str) -> None:
        """A container that answers at port 80 with its host name."""
        self.actr("run", "-d", "--name", name, "--hostname", name, *options, self.image, "sh", "-c", SERVE)
        wait_until(f"{name} serves", lambda: self.fetch(name, "127.0.0.1") == name)

    def serve_all(self, **options: str) -> None:
        """Several at once, each with its options as one text."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda name: self.serve(name, *options[name].split()), options))

    def fetch(self, name: str, address: str) -> str:
        """What a container gets there; empty when nothing answers."""
        words = ("timeout", "4", "wget", "-q", "-O", "-", f"http://{address}/x")
        return self.daemon.actr("exec", name, *words, check=None).stdout.strip()

    def network(self, name: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = self.daemon.json("network", "inspect", name)
        return found[0]

    def addresses(self, name: str, network: str) -> list[str]:
        ends = self.network(network)["endpoints"]
        return [at.partition("/")[0] for end in ends if end["name"] == name for at in end["addresses"]]

    def remove_all(self) -> None:
        ids = [one["id"] for one in self.daemon.json("ps", "-a")]
        if ids:
            self.actr("rm", "-f", *ids)
        for one in self.daemon.json("network", "ls"):
            self.actr("network", "rm", one["name"])


@pytest.fixture(scope="module")
def town(short_root: Path, busybox: str) -> Iterator[Town]:
    with running(Path(tempfile.mkdtemp(prefix="n-", dir=short_root))) as daemon:
        daemon.actr("pull", busybox)
        town = Town(daemon, busybox)
        town.up()
        try:
            yield town
        finally:
            town.remove_all()
            town.down()


@pytest.fixture(autouse=True)
def _clean(town: Town) -> Iterator[None]:
    yield
    town.remove_all()
    assert town.daemon.interfaces() == []
    assert _tables(town.daemon) == []


def _tables(daemon: Daemon) -> list[str]:
    """The daemon's own tables: it has one, or none without a network."""
    mark = daemon.scope
    return [line for line in _run("nft", "list", "tables").splitlines() if mark in line]


def _get(address: str, *within: str) -> str:
    return _run(*within, "curl", "-s", "-g", "-m", "4", f"http://{address}/x", check=False).strip()


@contextlib.contextmanager
def _udp_server(town: Town, name: str) -> Iterator[None]:
    """In the namespace of a container, which has no program for it: sends back what comes to port 53."""
    code = (
        "import socket;s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.bind(('',53))\n"
        "print('up',flush=True)\n"
        "while True: s.sendto(*s.recvfrom(99))"
    )
    pid = next(one["task"]["pid"] for one in town.daemon.json("ps") if one["name"] == name)
    server = subprocess.Popen(
        ["nsenter", f"--net=/proc/{pid}/ns/net", "python3", "-c", code], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    assert server.stdout.readline() == "up\n"
    try:
        yield
    finally:
        server.terminate()
        server.wait(10)
        server.stdout.close()


def _echo(address: str, port: int, *within: str) -> str:
    code = (
        "import socket,sys;s=socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET,"
        "socket.SOCK_DGRAM);s.settimeout(4);s.connect((sys.argv[1],int(sys.argv[2])));s.send(b'hi');"
        "print(s.recv(9).decode())"
    )
    return _run(*within, "python3", "-c", code, address, str(port), check=False).strip()


def test_who_reaches_whom(town: Town):
    town.actr("network", "create", "web", "--ipv6")
    town.actr("network", "create", "db")
    town.serve_all(
        a="--net web -p 18080:80 -p 18053:53/udp", b="--net web", c="--net db -p 127.0.0.1:18081:80"
    )
    outside = ("ip", "netns", "exec", town.outside)
    gateways = town.network("web")["gateways"]

    # Within a network by address, both versions; between networks, nothing.
    v4, v6 = town.addresses("a", "web")
    assert town.fetch("b", v4) == town.fetch("b", f"[{v6}]") == "a"
    assert town.fetch("c", v4) == town.fetch("b", town.addresses("c", "db")[0]) == ""

    # Published: from the host, its loopback, another host, another container and the container itself.
    for address in ("127.0.0.1", gateways[0], f"{town.subnet}.1", f"[{gateways[1]}]"):
        assert _get(f"{address}:18080") == "a", address
    assert _get(f"{town.subnet}.1:18080", *outside) == _get("[fd77::1]:18080", *outside) == "a"
    assert town.fetch("b", f"{gateways[0]}:18080") == town.fetch("a", f"{gateways[0]}:18080") == "a"
    with _udp_server(town, "a"):
        assert _echo("127.0.0.1", 18053) == _echo(f"{town.subnet}.1", 18053, *outside) == "hi"
    assert _get("127.0.0.1:18081") == "c"
    assert _get(f"{town.subnet}.1:18081", *outside) == ""

    # To another host, through the address of this one; not from there to a container by its own address.
    with _server(town) as seen:
        assert town.fetch("b", f"{town.subnet}.2:8000") == "outside"
        assert seen() == f"{town.subnet}.1"
    _run(*outside, "ip", "route", "add", f"{v4}/32", "via", f"{town.subnet}.1")
    assert _get(v4, *outside) == ""


@contextlib.contextmanager
def _server(town: Town) -> Iterator[Any]:
    """On the other host; what is yielded tells whose address the last client had."""
    code = (
        "import http.server\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "  def do_GET(s):\n"
        "    print(s.client_address[0], flush=True); s.send_response(200); s.end_headers()\n"
        "    s.wfile.write(b'outside')\n"
        "  def log_message(s, *_): pass\n"
        "h=http.server.HTTPServer(('',8000),H); print('up', flush=True); h.serve_forever()"
    )
    server = subprocess.Popen(
        ["ip", "netns", "exec", town.outside, "python3", "-c", code], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    assert server.stdout.readline() == "up\n"
    try:
        yield lambda: server.stdout.readline().strip()  # type: ignore[union-attr]
    finally:
        server.terminate()
        server.wait(10)
        server.stdout.close()


def test_without_a_network_each_has_a_loopback_of_its_own(town: Town):
    """Be its namespace made in advance or when it is wanted: as for many at once, or after a SIGKILL."""
    names = [f"alone{number}" for number in range(5)]

    def start(name: str) -> None:
        town.actr("run", "-d", "--network", "none", "--name", name, town.image, "sleep", "1000")

    start(names[0])
    first = wait_until("a namespace is made in advance", lambda: _in_advance(town))
    start(names[1])
    wait_until("the next one is", lambda: _in_advance(town) not in ("", first))
    town.daemon.kill_actor("bundles")
    with ThreadPoolExecutor() as pool:
        list(pool.map(start, names[2:]))
    look = "readlink /proc/self/ns/net; ls /sys/class/net; cat /sys/class/net/lo/flags"
    shown = [town.actr("exec", name, "sh", "-c", look).split() for name in names]
    assert shown[1][0] == first, "what was made in advance is used"
    assert len({words[0] for words in shown} | {str(Path("/proc/self/ns/net").readlink())}) == len(names) + 1
    assert [(words[1], words[-1]) for words in shown] == [("lo", "0x9")] * len(names)  # a loopback, up


def _in_advance(town: Town) -> str:
    """The network namespace that `bundles` holds by a descriptor; empty when there is none."""
    held = [str(path.readlink()) for path in Path(f"/proc/{town.daemon.pid('bundles')}/fd").iterdir()]
    return next((one for one in held if one.startswith("net:")), "")


def test_nobody_gets_into_the_loopback_of_the_host(town: Town):
    """`route_localnet` lets published ports answer there; a container must not make use of it."""
    town.serve("a", "--net", "bridge")
    gateway = town.network("bridge")["gateways"][0]
    listener = subprocess.Popen(["python3", "-m", "http.server", "--bind", "127.0.0.1", "18099"],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        wait_until(
            "the host's own server", lambda: _run("curl", "-s", "http://127.0.0.1:18099/", check=False)
        )
        pid = town.daemon.json("ps")[0]["task"]["pid"]
        _run("nsenter", f"--net=/proc/{pid}/ns/net", "sh", "-c",
             "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet; ip route flush table local;"
             f"ip route add 127.0.0.0/8 via {gateway}")  # fmt: skip
        assert _get("127.0.0.1:18099/", "nsenter", f"--net=/proc/{pid}/ns/net") == ""
    finally:
        listener.terminate()
        listener.wait(10)


def test_an_internal_network_is_closed(town: Town):
    town.actr("network", "create", "in", "--internal")
    town.serve_all(a="--net in", b="--net in")
    assert town.fetch("b", town.addresses("a", "in")[0]) == "a"
    with _server(town):
        assert town.fetch("b", f"{town.subnet}.2:8000") == ""


def test_a_container_that_runs_is_connected_and_disconnected(town: Town):
    for name in ("web", "db"):
        town.actr("network", "create", name)
    town.serve_all(a="--net web", b="--net db")
    second = town.network("db")["gateways"][0].rpartition(".")[0] + ".77"
    address = town.actr("network", "connect", f"db,ip={second},rate=10m", "a").strip().partition("/")[0]
    assert address == second
    assert town.fetch("b", address) == "a"
    assert "tbf" in _run("tc", "qdisc", "show")
    refused = town.daemon.actr("network", "rm", "db", check=1).stderr
    assert re.search(r"is used by (a, b|b, a); disconnect or remove them first", refused)
    town.actr("restart", "-t", "0", "a")
    wait_until("it is on both networks again", lambda: town.fetch("b", address) == "a")
    town.actr("network", "disconnect", "db", "a")
    town.actr("network", "disconnect", "db", "a")
    assert town.fetch("b", address) == ""
    assert "eth1" not in town.actr("exec", "a", "ip", "link")
    town.actr("restart", "-t", "0", "a")
    assert "eth1" not in town.actr("exec", "a", "ip", "link")


def test_the_namespace_of_another_container_and_of_the_host(town: Town):
    town.serve("a", "--net", "bridge")
    said = town.actr(
        "run", "--rm", "--net", "container:a", town.image, "wget", "-q", "-O", "-", "http://127.0.0.1/x"
    )
    assert said == "a\n"
    said = town.actr("run", "--rm", "--net", "host", town.image, "ip", "link")
    assert town.wire in said
    refused = town.daemon.actr(
        "run", "--rm", "--net", "container:nobody", town.image, "true", check=125
    ).stderr
    assert 'container "nobody" not found' in refused


def test_static_addresses_and_files_of_names(town: Town):
    town.actr("network", "create", "web", "--subnet", "10.199.7.0/24", "--mtu", "1400")
    said = town.actr("run", "--rm", "--name", "one", "--add-host", "other:10.0.0.9",
                     "--net", "web,ip=10.199.7.77,mac=02:00:00:00:00:77", town.image,
                     "sh", "-c", "ip addr show eth0; cat /etc/hosts /etc/resolv.conf")  # fmt: skip
    for part in ("10.199.7.77/24", "02:00:00:00:00:77", "mtu 1400", "10.199.7.77\tone", "10.0.0.9\tother",
                 "nameserver 10.199.7.1"):  # fmt: skip
        assert part in said


def test_damage_is_found_and_mended(town: Town):
    town.serve("a", "--net", "bridge", "-p", "18080:80")
    assert town.daemon.json("network", "check") == []
    for kind in ("bridge deleted", "pair deleted", "address gone", "table flushed", "forwarding off"):
        _damage(town, kind)
        assert _get("127.0.0.1:18080") != "a" or kind == "forwarding off", kind
        found = town.daemon.actr("network", "check", "--format", "json", check=1)
        assert json.loads(found.stdout), kind
        mended = town.daemon.json("network", "check", "--mend")
        assert all(one["mended"] for one in mended), kind
        assert town.daemon.json("network", "check") == [], kind
        assert _get("127.0.0.1:18080") == "a", kind


def _damage(town: Town, kind: str) -> None:
    bridge = town.network("bridge")["interface"]
    pid = town.daemon.json("ps")[0]["task"]["pid"]
    pair = re.findall(r"^\d+: (v[0-9a-f]{11})@", _run("ip", "link", "show", "master", bridge), re.MULTILINE)
    {
        "bridge deleted": lambda: _run("ip", "link", "del", bridge),
        "pair deleted": lambda: _run("ip", "link", "del", pair[0]),
        "address gone": lambda: _run(
            "nsenter", f"--net=/proc/{pid}/ns/net", "ip", "addr", "flush", "dev", "eth0"
        ),
        "table flushed": lambda: _run("nft", "flush", "table", "inet", f"actord_{town.daemon.scope}"),
        "forwarding off": lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("0"),
    }[kind]()


def test_a_crash_of_the_actor_disturbs_nobody(town: Town):
    """Traffic goes on while it is killed again and again, and what it was doing is finished."""
    town.serve("a", "--net", "bridge", "-p", "18080:80")
    address = town.addresses("a", "bridge")[0]
    ping = subprocess.Popen(
        ["ping", "-i", "0.05", "-c", "60", "-W", "1", address], stdout=subprocess.PIPE, text=True
    )
    for _ in range(4):
        old = town.daemon.kill_actor("network")
        assert _get("127.0.0.1:18080") == "a"
        wait_until("healed", lambda old=old: town.daemon.healed("network", old))
        assert town.actr("run", "--rm", "--net", "bridge", town.image, "echo", "hi") == "hi\n"
    said = ping.communicate(timeout=60)[0]
    assert "60 received, 0% packet loss" in said, said
    assert len(town.network("bridge")["endpoints"]) == 1
    assert town.daemon.json("network", "check") == []


def _of_others() -> tuple[str, list[str]]:
    """Without comments, which tell the time, and without counters."""
    saved = [line.partition("[")[0] for line in _run("iptables-save").splitlines() if line[0] != "#"]
    return _run("nft", "-s", "list", "table", "inet", "others"), saved


def test_the_rules_of_others_stay_as_they_are(town: Town):
    _run("nft", "add", "table", "inet", "others")
    _run("nft", "add", "chain", "inet", "others", "c", "{ type filter hook forward priority 5; }")
    try:
        before = _of_others()
        town.serve("a", "--net", "bridge", "-p", "18080:80")
        town.remove_all()
        assert before == _of_others()
    finally:
        _run("nft", "delete", "table", "inet", "others")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("network", "create", "a", "--subnet", "10.199.0.0/33"), "subnet '10.199.0.0/33' is not valid"),
        (("network", "create", "host"), "network name host has a meaning of its own"),
        (("network", "rm", "nobody"), 'network "nobody" not found; see actr network ls'),
        (("run", "--rm", "--net", "nobody", "IMAGE", "true"), 'network "nobody" not found'),
        (("run", "--rm", "--net", "bridge,ip=1.2.3.4", "IMAGE", "true"), "1.2.3.4 is not in network bridge"),
        (("run", "--rm", "-p", "18090:80", "IMAGE", "true"), "port *:18090/tcp is in use on this host"),
    ],
)  # fmt: skip
def test_mistakes_are_named_and_leave_nothing(town: Town, words: tuple[str, ...], said: str):
    with socket.create_server(("", 18090)):
        done = town.daemon.actr(*(town.image if word == "IMAGE" else word for word in words), check=None)
    assert done.returncode not in (0, None)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert town.daemon.json("ps", "-a") == []
    assert all(one["endpoints"] == 0 for one in town.daemon.json("network", "ls"))


def test_a_range_that_is_used_up_and_given_back(town: Town):
    town.actr("network", "create", "small", "--subnet", "10.199.9.0/29", "--range", "10.199.9.4/31")
    for name in ("a", "b"):
        town.actr("run", "-d", "--name", name, "--net", "small", town.image, "sleep", "60")
    refused = town.daemon.actr("run", "--rm", "--net", "small", town.image, "true", check=125).stderr
    assert "network small has no free address left in 10.199.9.4/31 (2 are taken)" in refused
    town.actr("rm", "-f", "a")
    assert town.actr("run", "--rm", "--net", "small", town.image, "echo", "hi") == "hi\n"


def test_everything_killed_and_started_again_keeps_the_network(own_daemon: Daemon, busybox: str):
    town = Town(own_daemon, busybox)
    town.serve("a", "--net", "bridge", "-p", "18080:80")
    own_daemon.kill_everything()
    assert _get("127.0.0.1:18080") == "a"
    own_daemon.start()
    assert own_daemon.json("network", "check") == []
    assert _get("127.0.0.1:18080") == "a"
    town.remove_all()


def test_containers_find_each_other_by_name(town: Town):
    town.actr("network", "create", "web")
    town.actr("network", "create", "db")
    town.serve_all(one="--net web,alias=first", two="--net web --net db", three="--net db")
    wait_until("names are known", lambda: town.fetch("two", "one") == "one")
    assert town.fetch("two", "first") == town.fetch("one", "one") == "one"
    assert town.fetch("one", "two") == "two"
    assert town.fetch("two", "three") == "three"
    assert town.fetch("one", "three") == ""
    old = town.daemon.kill_actor("resolver")
    wait_until("healed", lambda: town.daemon.healed("resolver", old))
    wait_until("names are known again", lambda: town.fetch("two", "one") == "one")
    town.actr("rename", "two", "second")
    wait_until("the new name is known", lambda: town.fetch("one", "second") == "two")
    assert town.fetch("one", "two") == ""
    town.actr("rename", "second", "two")
    town.actr("rm", "-f", "one")
    wait_until("it is forgotten", lambda: town.fetch("two", "first") == "")
