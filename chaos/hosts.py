"""Several hosts on one machine: network namespaces on a switch of their own, an actord in each.

For experiments (bin/hosts) and tests. The hosts reach each other at 10.77.0.1, 10.77.0.2 and so on, and
nothing else; this machine reaches each daemon by its Unix socket. A link can be cut, in one direction or in
both, slowed down and healed; a host can be frozen, thawed, killed and started again.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from transport.client import Client, NotRunningError
from transport.errors import ProtocolError

if TYPE_CHECKING:
    from types import TracebackType

CHECKOUT = Path(__file__).resolve().parents[1]
PORT = 7400
_NUMBERS = itertools.count(1)
READY_SECONDS, STOP_SECONDS = 60.0, 60.0
TABLE = """add table bridge cuts
delete table bridge cuts
table bridge cuts {{
    chain forward {{
        type filter hook forward priority 0;
        {}
    }}
}}
"""


@dataclass
class Host:
    """One host: its name among the nodes, its network namespace, its address, its daemon's directory."""

    name: str
    namespace: str
    address: str
    directory: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Where its daemon is reached from this machine."""
        return self.directory / "state/actord.sock"

    @property
    def endpoint(self) -> str:
        """Where its daemon is reached from the other hosts."""
        return f"tcp://{self.address}:{PORT}"

    def inside(self) -> list[str]:
        """What to put before a command that is to run on this host."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}"]

    def start(self) -> None:
        """Start its daemon, and wait until that serves."""
        config = self.directory / "actord.toml"
        config.write_text('[metrics]\nlisten = "127.0.0.1:0"\n')
        words: list[str | Path] = [
            *self.inside(), CHECKOUT / "bin/actord", "--config", config,
            "--root", self.directory / "root", "--state", self.directory / "state",
            "--node", self.name, "--listen", self.endpoint,
        ]  # fmt: skip
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + READY_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > until:
                text = (self.directory / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} does not serve; the end of its log:\n{text}")
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether its daemon is all there, asked from this machine."""
        try:
            with contextlib.closing(Client(str(self.socket))) as client:
                client.request("containers.list", {}, to="metadata", limit=2.0)
        except (NotRunningError, ProtocolError, OSError):
            return False
        return True

    def ask(self, op: str, to: str, **body: Any) -> dict[str, Any]:
        """Ask its daemon, from this machine."""
        with contextlib.closing(Client(str(self.socket))) as client:
            return client.request(op, body, to=to, limit=60.0)

    def tree(self) -> list[int]:
        """Its daemon's processes, the zygote first; containers are not among them."""
        found = [self.process.pid] if self.process else []
        for pid in found:  # grows while it is walked
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    found += [int(word) for word in children.read_text().split() if _is_actor(int(word))]
        return found

    def freeze(self) -> None:
        """Stop all of its daemon, as a machine that hangs."""
        _signal(self.tree(), signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        _signal(self.tree(), signal.SIGCONT)

    def kill(self) -> None:
        """End all of its daemon at once; its containers run on."""
        _signal(self.tree(), signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """Remove its containers, then end the daemon in order."""
        if self.process is None:
            return
        self.thaw()
        with contextlib.suppress(Exception):  # the daemon is ended in any case
            for one in self.ask("containers.list", "metadata")["containers"]:
                self.ask("containers.remove", one["actor"], force=True)
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process = None


@dataclass
class Hosts:
    """So many hosts, each known to every other; between enter and exit.

    Attributes:
        hub: the network namespace with the switch.
    """

    count: int
    directory: Path
    hosts: list[Host] = field(default_factory=list)
    _cuts: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Names of namespaces are the whole machine's."""
        self._own = f"at{os.getpid()}n{next(_NUMBERS)}"
        self.hub = f"{self._own}hub"

    def __getitem__(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    def __enter__(self) -> Self:
        try:
            _run("ip", "netns", "add", self.hub)
            _run("ip", "-n", self.hub, "link", "add", "switch", "type", "bridge")
            _run("ip", "-n", self.hub, "link", "set", "switch", "up")
            for number in range(1, self.count + 1):
                self._add(number)
            for host in self.hosts:
                self._introduce(host)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _add(self, number: int) -> None:
        name, address = f"h{number}", f"10.77.0.{number}"
        host = Host(name, f"{self._own}{name}", address, self.directory / name)
        host.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.hosts.append(host)
        _run("ip", "netns", "add", host.namespace)
        _run("ip", "-n", host.namespace, "link", "set", "lo", "up")
        _run(
            "ip",
            "-n",
            self.hub,
            "link",
            "add",
            name,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            host.namespace,
        )
        _run("ip", "-n", self.hub, "link", "set", name, "master", "switch", "up")
        _run("ip", "-n", host.namespace, "address", "add", f"{address}/24", "dev", "eth0")
        _run("ip", "-n", host.namespace, "link", "set", "eth0", "up")
        host.start()

    def _introduce(self, host: Host) -> None:
        """Give every other host a key to this one."""
        from transport.keys import new_pair  # noqa: PLC0415  # ZeroMQ, for this alone

        server = host.ask("keys.server", "metadata")
        for other in self.hosts:
            if other is host:
                continue
            pair = new_pair()
            host.ask("keys.allow", "metadata", name=other.name, public=pair.public, role="admin")
            connection = {
                "endpoint": host.endpoint, "server": server["public"], "node": host.name,
                "name": other.name, "role": "admin", "public": pair.public, "secret": pair.secret,
            }  # fmt: skip
            other.ask("nodes.join", "metadata", name=host.name, connection=connection)

    # What happens to links

    def cut(self, one: str, other: str, *, both: bool = True) -> None:
        """Nothing of host `one` reaches host `other` any more, nor the other way round unless not `both`."""
        self._cuts |= {(one, other), (other, one)} if both else {(one, other)}
        self._apply()

    def heal(self) -> None:
        """Every link is as it was: nothing is cut, nothing is slow."""
        self._cuts.clear()
        self._apply()
        for host in self.hosts:
            _run("tc", "-n", self.hub, "qdisc", "del", "dev", host.name, "root", check=False)

    def slow(self, name: str, *, rate: str = "1mbit") -> None:
        """What a host receives comes at that rate (tc(8) has the units); more than that waits, or is lost."""
        words = ("tbf", "rate", rate, "burst", "32kb", "latency", "400ms")
        _run("tc", "-n", self.hub, "qdisc", "replace", "dev", name, "root", *words)

    def _apply(self) -> None:
        rules = [
            f"ether type {kind} iifname {one} oifname {other} drop"
            for one, other in sorted(self._cuts)
            for kind in ("ip", "arp")
        ]
        table = TABLE.format("\n        ".join(rules))
        _run("nsenter", f"--net=/run/netns/{self.hub}", "nft", "-f", "-", stdin=table)

    def close(self) -> None:
        """End the daemons, then take away the namespaces."""
        for host in self.hosts:
            with contextlib.suppress(Exception):  # the others are to be ended as well
                host.stop()
        for namespace in (*(host.namespace for host in self.hosts), self.hub):
            _run("ip", "netns", "del", namespace, check=False)


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _is_actor(pid: int) -> bool:
    """By its command line, which it has from the zygote."""
    try:
        return b"actors.zygote.main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _run(*words: str, stdin: str = "", check: bool = True) -> None:
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
