"""Machines on one switch, made of network namespaces, and what happens to the wires between them.

    with Wires("lab") as wires:
        one, other = wires.add("one", 1), wires.add("other", 2)
        wires.cut("one", "other")                  nothing passes, in either direction
        wires.cut("one", "other", both=False)      what `one` sends does not arrive
        wires.slow("one", rate="1mbit")            both directions of its wire
        wires.flap("one", "other", times=3)        cut and healed, so many times
        wires.heal()                               all as it was

Machines have the addresses 10.77.0.1, 10.77.0.2 and so on; nothing leads out of the switch.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from types import TracebackType

Way = Literal["in", "out", "both"]
TABLE = """add table bridge cuts
delete table bridge cuts
table bridge cuts {{
    chain forward {{
        type filter hook forward priority 0;
        {}
    }}
}}
"""


@dataclass(frozen=True)
class Machine:
    """A network namespace with one wire. `namespace` is a name of ip-netns(8)."""

    name: str
    namespace: str
    address: str

    def inside(self) -> list[str]:
        """What to put before a command that is to run there."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}"]


class Wires:
    """The switch and the machines on it, between enter and exit; `own` begins the names of namespaces."""

    def __init__(self, own: str) -> None:
        self._own = own
        self.hub = f"{own}hub"
        self.machines: dict[str, Machine] = {}
        self._cuts: set[tuple[str, str]] = set()

    def __enter__(self) -> Self:
        run("ip", "netns", "add", self.hub)
        run("ip", "-n", self.hub, "link", "add", "switch", "type", "bridge")
        run("ip", "-n", self.hub, "link", "set", "switch", "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, name: str, number: int) -> Machine:
        """Another machine; `number` is the last part of its address."""
        found = Machine(name, f"{self._own}{name}", f"10.77.0.{number}")
        self.machines[name] = found
        there = found.namespace
        run("ip", "netns", "add", there)
        run("ip", "-n", there, "link", "set", "lo", "up")
        peer = ("peer", "name", "eth0", "netns", there)
        run("ip", "-n", self.hub, "link", "add", name, "type", "veth", *peer)
        run("ip", "-n", self.hub, "link", "set", name, "master", "switch", "up")
        run("ip", "-n", there, "address", "add", f"{found.address}/24", "dev", "eth0")
        run("ip", "-n", there, "link", "set", "eth0", "up")
        return found

    def cut(self, one: str, other: str, *, both: bool = True) -> None:
        """Nothing of `one` reaches `other` any more, nor the other way round unless not `both`."""
        self._cuts |= {(one, other), (other, one)} if both else {(one, other)}
        self._apply()

    def isolate(self, name: str) -> None:
        """Cut a machine off from all others."""
        for other in self.machines:
            if other != name:
                self._cuts |= {(name, other), (other, name)}
        self._apply()

    def mend(self, one: str, other: str) -> None:
        """What was cut between two is whole again."""
        self._cuts -= {(one, other), (other, one)}
        self._apply()

    def flap(self, one: str, other: str, *, times: int = 5, down: float = 0.5, up: float = 0.5) -> None:
        """Cut for `down` seconds and mend for `up` seconds, so many times; returns when it is over."""
        for _ in range(times):
            self.cut(one, other)
            time.sleep(down)
            self.mend(one, other)
            time.sleep(up)

    def slow(self, name: str, *, rate: str = "1mbit", way: Way = "both") -> None:
        """What a machine receives, sends, or both goes at that rate (tc(8) has the units).

        More than that waits, up to 400 ms, or is lost.
        """
        shape = ("root", "tbf", "rate", rate, "burst", "32kb", "latency", "400ms")
        if way != "out":
            run("tc", "-n", self.hub, "qdisc", "replace", "dev", name, *shape)
        if way != "in":
            run("tc", "-n", self.machines[name].namespace, "qdisc", "replace", "dev", "eth0", *shape)

    def heal(self) -> None:
        """Every wire is as it was: nothing is cut, nothing is slow."""
        self._cuts.clear()
        self._apply()
        for machine in self.machines.values():
            for namespace, device in ((self.hub, machine.name), (machine.namespace, "eth0")):
                run("tc", "-n", namespace, "qdisc", "del", "dev", device, "root", check=False)

    def _apply(self) -> None:
        rules = [
            f"ether type {kind} iifname {one} oifname {other} drop"
            for one, other in sorted(self._cuts)
            for kind in ("ip", "arp")
        ]
        table = TABLE.format("\n        ".join(rules))
        run("nsenter", f"--net=/run/netns/{self.hub}", "nft", "-f", "-", stdin=table)

    def close(self) -> None:
        """Take away the namespaces, and with them the wires."""
        for namespace in (*(machine.namespace for machine in self.machines.values()), self.hub):
            run("ip", "netns", "del", namespace, check=False)


def run(*words: str, stdin: str = "", check: bool = True) -> str:
    """A command's output. Raises RuntimeError, with what the command complained of."""
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
