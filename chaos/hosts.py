"""Several hosts on one machine: network namespaces on a switch of their own, an actord in each.

For experiments (bin/hosts) and tests:

    with Hosts(3, directory) as hosts:
        hosts["h2"].ask("containers.list", "metadata")
        hosts.wires.cut("h1", "h2")         cut, mend, flap, slow, isolate, heal: see chaos/wires.py
        hosts["h3"].freeze()                its daemon stops, as a machine that hangs; thaw
        hosts["h3"].kill()                  its daemon is gone at once, its containers run on; start

The hosts reach each other at 10.77.0.1, 10.77.0.2 and so on, and nothing else; this machine reaches each
daemon by its Unix socket. What a killed experiment leaves is cleared by the next one (chaos/left.py).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from chaos import left
from chaos.wires import Machine, Way, Wires
from transport.client import Client, NotRunningError
from transport.errors import ProtocolError

if TYPE_CHECKING:
    from types import TracebackType

CHECKOUT = Path(__file__).resolve().parents[1]
PORT = 7400
SETTINGS = '[metrics]\nlisten = "127.0.0.1:0"\n'
_NUMBERS = itertools.count(1)
READY_SECONDS, STOP_SECONDS = 60.0, 60.0
MOST_WALKS = 10
FIRST_PROXY = 200  # last part of its address


@dataclass
class Host:
    """A machine with a daemon, whose root, state and log are in `directory`.

    Attributes:
        settings: TOML of its configuration file.
    """

    machine: Machine
    directory: Path
    settings: str = SETTINGS
    process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """Among the nodes."""
        return self.machine.name

    @property
    def address(self) -> str:
        """Of its wire."""
        return self.machine.address

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
        return self.machine.inside()

    def start(self) -> None:
        """Start its daemon, and wait until that serves."""
        self.begin()
        self.wait()

    def begin(self) -> None:
        """Start its daemon; `wait` for it before it is asked for anything."""
        config = self.directory / "actord.toml"
        config.write_text(self.settings)
        words: list[str | Path] = [
            *self.inside(), CHECKOUT / "bin/actord", "--config", config,
            "--root", self.directory / "root", "--state", self.directory / "state",
            "--node", self.name, "--listen", self.endpoint,
        ]  # fmt: skip
        with (self.directory / "log").open("ab") as log:
            # In a session of its own: a Ctrl-C at the experiment is not for the daemon, which still has to
            # remove its containers.
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def wait(self) -> None:
        """Until its daemon serves. Raises RuntimeError."""
        until = time.monotonic() + READY_SECONDS
        while not self.answers():
            if self.process is None or self.process.poll() is not None or time.monotonic() > until:
                text = (self.directory / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} does not serve; the end of its log:\n{text}")
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether its daemon is all there, asked from this machine."""
        try:
            self.ask("containers.list", "metadata", limit=2.0)
        except (NotRunningError, ProtocolError, OSError):
            return False
        return True

    def ask(self, op: str, to: str, *, limit: float = 60.0, **body: Any) -> dict[str, Any]:
        """Ask its daemon, from this machine."""
        with contextlib.closing(Client(str(self.socket))) as client:
            return client.request(op, body, to=to, limit=limit)

    def tree(self) -> list[int]:
        """Its daemon's processes, the zygote first; containers are not among them."""
        return left.actors_below([self.process.pid] if self.process else [])

    def freeze(self) -> None:
        """Stop all of its daemon, as a machine that hangs."""
        stopped: list[int] = []
        for _ in range(MOST_WALKS):  # one may be forked while the others are being stopped
            if not (running := [pid for pid in self.tree() if pid not in stopped]):
                return
            left.signal_all(running, signal.SIGSTOP)
            stopped += running

    def thaw(self) -> None:
        """Let it go on."""
        left.signal_all(self.tree(), signal.SIGCONT)

    def kill(self) -> None:
        """End all of its daemon at once; its containers run on."""
        left.signal_all(self.tree(), signal.SIGKILL)
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
        left.end_all(self.directory)


class Proxy:
    """Passes on what is for a host, and does with it what it is told: `tell("frames drop 0.01")`.

    Attributes:
        endpoint: where it is instead of the host, for `Hosts.introduce`.
    """

    def __init__(self, machine: Machine, to: Host) -> None:
        address = f"{machine.address}:{PORT}"
        self.endpoint = f"tcp://{address}"
        words = [
            *machine.inside(),
            sys.executable,
            "-P",
            "-m",
            "chaos.proxy",
            address,
            f"{to.address}:{PORT}",
        ]
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        )  # fmt: skip
        if self._answer() != "ok":
            raise RuntimeError(f"no proxy came about at {address}")

    def tell(self, command: str) -> str:
        """Give a command; gives the answer. Raises OSError."""
        assert self._process.stdin is not None  # noqa: S101  # a pipe was asked for
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._answer()

    def count(self) -> dict[str, int]:
        """What it has done so far."""
        found: dict[str, int] = json.loads(self.tell("count"))
        return found

    def _answer(self) -> str:
        assert self._process.stdout is not None  # noqa: S101
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        """End it, and the connections through it."""
        with self._process as process:
            process.terminate()


@dataclass
class Hosts:
    """So many hosts, each known to every other; between enter and exit.

    Attributes:
        directory: has a directory for each host.
        settings: TOML for the configuration file of each.
        temporary: whether the directory goes as well, should somebody else have to clear up.
    """

    count: int
    directory: Path
    settings: str = SETTINGS
    temporary: bool = False
    hosts: list[Host] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Names of namespaces are the whole machine's."""
        self._own = f"at{os.getpid()}n{next(_NUMBERS)}"
        self.wires = Wires(self._own)
        self._proxies = itertools.count()

    def __getitem__(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    def __enter__(self) -> Self:
        self._note = left.note(self._own, self.directory, temporary=self.temporary)
        try:
            self.wires.__enter__()
            for number in range(1, self.count + 1):
                self._add(number)
            for host in self.hosts:
                host.wait()
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
        machine = self.wires.add(f"h{number}", number)
        host = Host(machine, self.directory / machine.name, self.settings)
        host.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.hosts.append(host)
        host.begin()

    def _introduce(self, host: Host) -> None:
        """Give every other host a key to this one."""
        for other in self.hosts:
            if other is not host:
                self.introduce(host, other)

    def introduce(self, host: Host, other: Host, endpoint: str = "") -> None:
        """Have `other` know how to reach `host`, at its endpoint or at another one: a proxy's."""
        from transport.keys import new_pair  # noqa: PLC0415  # ZeroMQ, for this alone

        pair, server = new_pair(), host.ask("keys.server", "metadata")
        host.ask("keys.allow", "metadata", name=other.name, public=pair.public, role="admin")
        connection = {
            "endpoint": endpoint or host.endpoint, "server": server["public"], "node": host.name,
            "name": other.name, "role": "admin", "public": pair.public, "secret": pair.secret,
        }  # fmt: skip
        other.ask("nodes.join", "nodes", name=host.name, connection=connection)

    def proxy(self, host: Host) -> Proxy:
        """Somebody on the way to that host, on a machine of its own; see chaos/proxy.py. Close it."""
        number = FIRST_PROXY + next(self._proxies)
        return Proxy(self.wires.add(f"p{number}", number), host)

    # What happens to wires

    def cut(self, one: str, other: str, *, both: bool = True) -> None:
        """As `Wires.cut`."""
        self.wires.cut(one, other, both=both)

    def heal(self) -> None:
        """As `Wires.heal`."""
        self.wires.heal()

    def slow(self, name: str, *, rate: str = "1mbit", way: Way = "both") -> None:
        """As `Wires.slow`."""
        self.wires.slow(name, rate=rate, way=way)

    def close(self) -> None:
        """End the daemons, then take away the namespaces."""
        for host in self.hosts:
            with contextlib.suppress(Exception):  # the others are to be ended as well
                host.stop()
        self.wires.close()
        self._note.settle()
