"""Operations on networks whose crash points are enumerated, while the traffic of a container is watched."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from chaos.asking import persist
from chaos.expectations import KEPT
from chaos.operations import Operation
from cli.start import start_once

if TYPE_CHECKING:
    from chaos.runs import Run
    from chaos.scenarios import Worker

FIRST: Final = "bridge"
SECOND: Final = "second"
TRAFFIC: Final = "traffic is not interrupted"
ALONE: Final = "no address and no port is taken twice"
PUBLISHED: Final = {"networks": [{"network": FIRST}], "ports": [{"container_port": 80}]}
_LOST: Final = re.compile(r"(\d+) packets transmitted, (\d+) received")


class Traffic:
    """An echo request every 50 ms, from the host to an address."""

    def __init__(self, address: str) -> None:
        self._ping = subprocess.Popen(
            ["ping", "-i", "0.05", "-w", "180", address], stdout=subprocess.PIPE, text=True
        )

    def ended(self) -> tuple[int, int]:
        """How many were sent and how many were answered."""
        self._ping.send_signal(signal.SIGINT)
        said = self._ping.communicate(timeout=30)[0]
        found = _LOST.search(said)
        return (int(found[1]), int(found[2])) if found else (0, 0)


class _Networked(Operation):
    """With a container whose traffic goes on meanwhile."""

    only: tuple[str, ...] = ("network",)

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker)
        self._traffic: Traffic | None = None

    def ask(self, op: str, **body: Any) -> dict[str, Any]:
        """Ask the network actor until it answers."""
        found: dict[str, Any] = persist(lambda: self.worker.session.ask("network", op, body))
        return found

    def running(self) -> Run:
        """A container on the first network, with a port, that runs."""
        run = self.worker.make(9, 0, wanted="running", network=PUBLISHED)
        self.worker.learn_init(run)
        return run

    def watch(self, run: Run) -> None:
        """Begin to send to it."""
        self._traffic = Traffic(self.ends(run, FIRST)[0]["addresses"][0].partition("/")[0])

    def ends(self, run: Run, network: str) -> list[dict[str, Any]]:
        """Its ends in a network: one, or none."""
        listed = self.ask("network.get", name=network)["endpoints"]
        return [one for one in listed if one["container"] == run.id]

    def verify(self) -> None:
        """No packet lost, nothing twice, and the kernel has what is on record, rules included."""
        check = self.worker.findings.check
        if self._traffic is not None:
            sent, heard = self._traffic.ended()
            check(TRAFFIC, sent == heard > 0, f"{sent} packets sent, {heard} answered")
        networks = [one["name"] for one in self.ask("network.list")["networks"]]
        ends = [end for name in networks for end in self.ask("network.get", name=name)["endpoints"]]
        addresses = Counter((end["network"], at) for end in ends for at in end["addresses"])
        ports = Counter((one["protocol"], one["host_port"]) for one in self.ask("network.ports")["ports"])
        twice = [key for key, count in [*addresses.items(), *ports.items()] if count > 1]
        check(ALONE, not twice, f"taken twice: {twice}")
        findings = self.ask("network.check")["findings"]
        check(KEPT, not findings, f"the kernel has not what is on record: {findings}")

    def leave(self, run: Run) -> None:
        """The container goes, and its port is free for anybody."""
        taken = self.ask("network.ports", namespace="c", id=run.id)["ports"]
        self.worker.finish(run, stop=True)
        self.free(run, taken)

    def free(self, run: Run, ports: list[dict[str, Any]]) -> None:
        """Nothing is on record of it, and its ports can be bound."""
        check = self.worker.findings.check
        left = [*self.ends(run, FIRST), *self.ask("network.ports", namespace="c", id=run.id)["ports"]]
        check(KEPT, not left, f"{run.name} is gone, and there is {left}")
        for one in ports:
            try:
                socket.create_server(("", one["host_port"])).close()
            except OSError as error:
                check(KEPT, holds=False, text=f"port {one['host_port']} is not free: {error}")

    def interfaces(self, run: Run) -> set[str]:
        """Those in its namespace."""
        path = self.worker.scene.state / "netns" / f"c+{run.id}"
        said = subprocess.run(
            ["nsenter", f"--net={path}", "ip", "-j", "link"], check=True, capture_output=True, text=True
        ).stdout
        return {one["ifname"] for one in json.loads(said)}

    def remembered(self, run: Run) -> set[str]:
        """The networks that its next start will have."""
        session = self.worker.session
        wish = {"namespace": "c", "id": run.id}
        record = persist(lambda: session.ask("metadata", "containers.get", wish))
        return {one["network"] for one in record["options"]["network"]["networks"]}


class Connect(_Networked):
    """Give a running container one more interface."""

    own = True
    only = ("network", "container", "metadata")
    after = True

    def prepare(self) -> None:
        """Have one run, and the network."""
        if all(one["name"] != SECOND for one in self.ask("network.list")["networks"]):
            self.ask("network.create", name=SECOND)
        self.run = self.running()
        self.watch(self.run)

    def connect(self) -> None:
        """As actr network connect does it."""
        self.ask("network.connect", namespace="c", id=self.made.id, network=SECOND, name=self.made.name)

    def act(self) -> None:
        """Connect it."""
        self.connect()

    def settle(self) -> None:
        """On record, in the kernel and in the options it is on both, or (disconnected) on the first alone."""
        run, check = self.made, self.worker.findings.check
        self.verify()
        seen = (bool(self.ends(run, SECOND)), "eth1" in self.interfaces(run), SECOND in self.remembered(run))
        check(KEPT, seen == (self.after,) * 3, f"{run.name}: on record, in the kernel, remembered: {seen}")
        self.leave(run)
        check(KEPT, not self.ends(run, SECOND), f"{run.name} is gone and still on {SECOND}")


class Disconnect(Connect):
    """Take a running container off a network."""

    after = False

    def prepare(self) -> None:
        """Have one on two."""
        super().prepare()
        self.connect()

    def act(self) -> None:
        """As actr network disconnect does it."""
        self.ask("network.disconnect", namespace="c", id=self.made.id, network=SECOND)


class Attach(_Networked):
    """Start a container with an interface and a published port, while another one's traffic goes on."""

    def prepare(self) -> None:
        """Have the other one run."""
        self.other = self.running()
        self.watch(self.other)
        self.run = self.worker.make(9, 0, wanted="stopped", network=PUBLISHED)

    def act(self) -> None:
        """Start it."""
        run = self.made
        persist(lambda: start_once(self.worker.session, run.actor))
        self.worker.learn_init(run)

    def settle(self) -> None:
        """It is connected, and both go."""
        self.verify()
        run, check = self.made, self.worker.findings.check
        check(KEPT, len(self.ends(run, FIRST)) == 1, f"{run.name} is not on record")
        check(KEPT, "eth0" in self.interfaces(run), f"{run.name} has no interface")
        self.leave(run)
        self.leave(self.other)


class Detach(Attach):
    """The end of such a container."""

    def prepare(self) -> None:
        """Have both run."""
        super().prepare()
        super().act()
        self._ports = self.ask("network.ports", namespace="c", id=self.made.id)["ports"]

    def act(self) -> None:
        """End and remove it."""
        self.worker.finish(self.made, stop=True)

    def settle(self) -> None:
        """It has left nothing; the other one has not noticed."""
        self.verify()
        self.free(self.made, self._ports)
        self.leave(self.other)
