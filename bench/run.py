"""Measures actord beside the distribution's containerd, with the same registry, image and runtime: bin/bench.

start:  `ctr run --rm IMAGE NAME true`, `actr run --rm IMAGE true`, `runc run` of the same root; the phases
        of one start; fifty containers started at once, with both runtimes.
gateway: the same ctr on both: `ctr run --rm IMAGE NAME true`, fifty of them at once; round trips of the API,
        with a thousand containers on record; the memory of each of twenty containers.
pull:   a Debian image of 93 MB compressed (206 MB, 5,300 files), in 1 and in 10 layers, with unpacking;
        beside podman and skopeo with umoci, too. Each on a new filesystem: nothing is cached. Daemons are up
        before the clock starts.
unpack: the same Debian images, whose blobs are there already; then how fast and in how much memory a layer of
        2 GiB and one of 20,000 files are applied.
memory: the proportional memory of a shim and of a container actor, awake and asleep, with 20 containers each,
        with and without the kernel's merging of pages; and the growth of all processes.
density: 200 idle containers on each: memory of all processes by container, idle processor time.
scale:  1, 10, 100 and 1,000 containers on actord alone: run, exec, ps, inspect, events, a scrape, memory,
        idle processor time; whether each of the thousand answers; from a SIGKILL of everything until all are
        known to run; removal. Each figure when it is there, then each thing at all sizes.
events: a hundred subscribers and 10,000 events a second: what is lost, what comes twice, how fast it goes.
simulation: 10 to 10,000 entities in what only decides: instructions and processor time by entity, and by
        which power they grow; there is no daemon in it.
messages: round trips, answers a second and a thousand clients at once: ZeroMQ, direct and through the router,
        beside containerd's gRPC and a bare server with grpcio.
hostile: the round trips of others while peers on TCP mean no good: 10,000 half-open connections, frames of a
        gigabyte, replayed connections, unknown keys, a flood, a slow reader.
network: 200 containers connected one by one and removed, as often as there are rounds: actord, the CNI bridge
        plugin, Docker (one container, as often in sum); nothing may be left.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Final

from bench import (
    crowd,
    density,
    events,
    gateway,
    hostile,
    memory,
    messages,
    network,
    report,
    scale,
    simulation,
    unpack,
)
from bench.pairs import Comparison, in_turn, timed
from bench.peers import Actord, Containerd, mounts_below
from bench.pulls import Pulls
from tests.e2e import images
from tests.e2e.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Idle = Callable[[Containerd, Actord, str], list[Comparison]]

GROUPS: Final = (
    "start", "gateway", "pull", "unpack", "memory", "density", "scale", "events", "simulation", "messages",
    "hostile", "network",
)  # fmt: skip


class Bench:
    """One run: a registry with the images, and a directory for the daemons."""

    def __init__(self, directory: Path, registry: str, pairs: int) -> None:
        self._directory, self._registry, self._pairs = directory, registry, pairs

    def group(self, name: str) -> Iterable[Comparison]:
        """Measure one of GROUPS."""
        groups: dict[str, Callable[[], Iterable[Comparison]]] = {
            "gateway": self._gateway,
            "start": self._start, "pull": self._pull, "unpack": self._unpack, "memory": self._memory,
            "density": self._density,
            "scale": self._scale,
            "events": self._events,
            "simulation": simulation.measure,
            "messages": self._messages,
            "hostile": self._hostile,
            "network": lambda: network.measure(self._directory / "network", self._pairs),
        }  # fmt: skip
        return groups[name]()

    def _start(self) -> list[Comparison]:
        image = self._push_busybox()
        numbers = count()
        bundle = self._bundle()
        with Containerd(self._directory / "containerd") as peer, Actord(self._directory / "actord") as actord:
            peer.run("images", "pull", "--plain-http", image)
            actord.run("pull", image)
            cases: dict[str, Callable[[], float]] = {
                "ctr run --rm": lambda: timed(peer.client("run", "--rm", image, f"c{next(numbers)}", "true")),
                "actr run --rm": lambda: timed(actord.client("run", "--rm", image, "true")),
                "  without seccomp, as ctr does": lambda: timed(
                    actord.client("run", "--rm", "--security-opt", "seccomp=unconfined", image, "true")
                ),
                "  with crun": lambda: timed(
                    actord.client("run", "--rm", "--runtime", "crun", image, "true")
                ),
                "runc run": lambda: timed([*bundle, f"r{next(numbers)}"]),
            }
            return [
                Comparison("start of true", "ms", in_turn(cases, self._pairs)),
                crowd.phases(actord, image, self._pairs),
                crowd.at_once(peer, actord, image),
            ]

    def _gateway(self) -> list[Comparison]:
        image = self._push_busybox()
        ours = Actord(self._directory / "g-actord", gateway.SETTINGS)
        with Containerd(self._directory / "g-peer") as peer, ours as actord:
            return gateway.measure(peer, actord, image, self._pairs)

    def _pull(self) -> Iterable[Comparison]:
        return Pulls(self._directory, self._registry, self._pairs).comparisons()

    def _unpack(self) -> Iterable[Comparison]:
        return unpack.measure(self._directory, self._pairs)

    def _memory(self) -> list[Comparison]:
        actord = Actord(self._directory / "m-actord", memory.SETTINGS)
        return self._idle(Containerd(self._directory / "m-peer"), actord, memory.measure)

    def _density(self) -> list[Comparison]:
        actord = Actord(self._directory / "d-actord")
        return self._idle(Containerd(self._directory / "d-peer"), actord, density.measure)

    def _scale(self) -> Iterable[Comparison]:
        image = self._push_busybox()
        with Actord(self._directory / "s-actord", scale.SETTINGS) as actord:
            actord.run("pull", image)
            yield from scale.measure(actord, image, self._pairs)

    def _events(self) -> Iterable[Comparison]:
        with Actord(self._directory / "e-actord", events.SETTINGS) as actord:
            yield from events.measure(actord)

    def _idle(self, peer: Containerd, actord: Actord, measure: Idle) -> list[Comparison]:
        """With both daemons up, and the image on them."""
        image = self._push_busybox()
        with peer, actord:
            peer.run("images", "pull", "--plain-http", image)
            actord.run("pull", image)
            return measure(peer, actord, image)

    def _messages(self) -> list[Comparison]:
        with Containerd(self._directory / "t-peer") as peer, Actord(self._directory / "t-actord") as actord:
            return messages.measure(peer, actord, self._pairs)

    def _hostile(self) -> list[Comparison]:
        with hostile.Listening(self._directory / "h-actord") as actord:
            return hostile.measure(actord, self._pairs)

    def _push_busybox(self) -> str:
        image = f"{self._registry}/library/busybox:latest"
        images.push(images.busybox(self._directory / "busybox"), "latest", image)
        return image

    def _bundle(self) -> list[str]:
        """The runc command, less the container's name, that runs `true` in the busybox root."""
        bundle = self._directory / "bundle"
        source = f"{self._directory / 'busybox'}:latest"
        subprocess.run(["umoci", "unpack", "--image", source, str(bundle)], check=True, capture_output=True)
        path = bundle / "config.json"
        path.unlink()
        subprocess.run(["runc", "spec", "--bundle", str(bundle)], check=True)
        spec = json.loads(path.read_text())
        spec["process"].update(args=["true"], terminal=False)
        path.write_text(json.dumps(spec))
        return ["runc", "--root", str(self._directory / "runc"), "run", "--bundle", str(bundle)]


def machine(directory: Path) -> dict[str, str]:
    """What the figures were measured on."""
    runc = subprocess.run(["runc", "--version"], check=True, capture_output=True, text=True).stdout.split()[2]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "machine": f"{os.cpu_count()} cores, {pages / 2**30:.0f} GiB, Linux {platform.release()}",
        "load": f"{os.getloadavg()[0]:.2f} before the run",
        "python": platform.python_version(),
        "actord": Actord(directory / "version").version(),
        "containerd": Containerd(directory / "version").version(),
        "runc": runc,
    }


def options() -> argparse.Namespace:
    entries = re.split(r"\n(?=\w+:)", (__doc__ or "").partition("\n\n")[2].strip())
    groups = "\n".join(fill(" ".join(one.split()), 80, subsequent_indent="    ") for one in entries)
    parser = argparse.ArgumentParser(
        prog="bin/bench",
        description=f"Measure actord beside the distribution's containerd.\n\n{groups}",
        epilog="In brackets: the default. All groups take hours: begin with one, and few pairs.\n\n"
        "Example:\n  sudo bin/bench --group start --pairs 3",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--pairs", type=int, default=10, metavar="N", help="rounds of each comparison (10)")
    add(
        "--group",
        action="append",
        choices=GROUPS,
        metavar="GROUP",
        help="only this; may be given again (all)",
    )
    add("--report", type=Path, metavar="DIR", help="write tables, pictures and samples there (none)")
    return parser.parse_args()


def main() -> None:
    """Measure the groups asked for and print a table each."""
    chosen = options()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # what was started has to end
    directory = Path(tempfile.mkdtemp(prefix="actord-bench-"))
    try:
        facts = machine(directory)
        for name, value in facts.items():
            print(f"{name + ':':12} {value}")
        results = []
        with Registry(directory / "registry") as registry:
            bench = Bench(directory, registry.host, chosen.pairs)
            for name in chosen.group or GROUPS:
                for comparison in bench.group(name):
                    print(f"\n{comparison.table()}", flush=True)
                    results.append(comparison)
        if chosen.report is not None:
            report.write(chosen.report, facts, results)
            print(f"\nreport: {chosen.report / 'report.md'}")
    finally:
        if not mounts_below(directory):  # else the removal would go through a leaked mount
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
