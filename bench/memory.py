"""Memory that one more container costs: containerd's shim beside actord's container actor, awake and asleep.

Proportional set size (PSS): pages that processes share are divided among them, so that the figures add up.
It depends on their number: a lone shim of containerd 1.6.20 has 12 MiB, each of twenty has 3 MiB, since they
share the program. Both daemons run at once, each with the same number of idle containers of the same image.

An actor of a container to which nothing happens sleeps: it has no process. What it costs then is in other
processes; so the growth of all processes of each daemon, divided by the containers, stands beside it.

Measured twice while they are awake: as the machine is, and while the kernel merges pages that are the same
(KSM), which actord's actors allow and a shim does not. It is switched on for the time of the measurement.
"""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.pairs import Comparison

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.peers import Actord, Containerd

CONTAINERS: Final = 20
SETTLED: Final = 6.0  # seconds after which an actor has offered its pages
AWAKE: Final = 180.0  # seconds that they stay awake, so that all can be measured first
SETTINGS: Final = f"[supervision]\nsleep_after = {AWAKE}\n"
ASLEEP_LIMIT: Final = 60.0  # seconds after that until all sleep
IDLE: Final = ("sleep", "3600")
KSM: Final = Path("/sys/kernel/mm/ksm")
MERGING: Final = {"pages_to_scan": "2000", "run": "1"}  # the kernel's own pace would take minutes
SCANS: Final = 4  # a page is merged when it has not changed between two
SCAN_LIMIT: Final = 60.0  # seconds


def proportional_bytes(pid: int) -> float:
    """The proportional set size of a process."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB$", text, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"process {pid} has no proportional set size in its smaps_rollup")
    return 1024.0 * int(found[1])


def measure(peer: Containerd, actord: Actord, image: str) -> list[Comparison]:
    """The memory of the shims and of the container actors while CONTAINERS containers idle on each daemon."""
    # Not the same names on both: containerd's runtime state is in one place for all of its daemons.
    peers, actors = (
        [f"{daemon}-idle{number}" for number in range(CONTAINERS)] for daemon in ("peer", "actord")
    )
    before = total_bytes(peer.own_processes()), total_bytes(actord.own_processes())
    grown: dict[str, list[float]] = {}

    def growth(case: str, daemon: Containerd | Actord, since: float) -> None:
        grown[case] = [(total_bytes(daemon.own_processes()) - since) / CONTAINERS]

    try:
        start_idle(peer, peers, actord, actors, image)
        time.sleep(SETTLED)
        compared = per_container(peer, actord, "memory per container (PSS)")
        growth("containerd and its shims", peer, before[0])
        growth("actord, awake", actord, before[1])
        results = [compared]
        if KSM.exists():
            with _merging():
                results.append(per_container(peer, actord, "memory per container (PSS), same pages merged"))
        wait_until_asleep(actord, AWAKE + ASLEEP_LIMIT)
        compared.samples["actord container actor, asleep"] = [0.0] * CONTAINERS
        growth("actord, asleep", actord, before[1])
    finally:
        remove_from_peer(peer, peers)
        remove_from_actord(actord, actors)
    return [*results, Comparison("growth of all processes, by container", "MiB", grown)]


def start_idle(
    peer: Containerd, peers: Iterable[str], actord: Actord, actors: Iterable[str], image: str
) -> None:
    """A container of each name, which does nothing, on its daemon."""
    for in_peer, in_actord in zip(peers, actors, strict=True):
        peer.run("run", "--detach", image, in_peer, *IDLE)
        actord.run("run", "-d", "--name", in_actord, image, *IDLE)


def wait_until_asleep(actord: Actord, seconds: float) -> None:
    """No container's actor has a process any more. Raises RuntimeError."""
    until = time.monotonic() + seconds
    while any(actord.container_actors()):
        if time.monotonic() > until:
            raise RuntimeError(f"not every container's actor sleeps after {seconds:.0f} s")
        time.sleep(0.5)


def total_bytes(pids: Iterable[int]) -> float:
    """The proportional set sizes of processes, of one that has just ended none."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += proportional_bytes(pid)
    return total


def per_container(peer: Containerd, actord: Actord, title: str) -> Comparison:
    """The memory of each shim and each container actor; there are CONTAINERS of each."""
    samples = {
        "containerd-shim-runc-v2": _sizes(peer.shims()),
        "actord container actor": _sizes(actord.container_actors()),
    }
    return Comparison(title, "MiB", samples)


@contextlib.contextmanager
def _merging() -> Iterator[None]:
    """Have the kernel merge pages, and wait until it has looked at all of them some times."""
    before = {name: (KSM / name).read_text() for name in MERGING}
    try:
        for name, value in MERGING.items():
            (KSM / name).write_text(value)
        wanted, until = _scans() + SCANS, time.monotonic() + SCAN_LIMIT
        while _scans() < wanted and time.monotonic() < until:
            time.sleep(0.5)
        yield
    finally:
        for name, value in before.items():
            (KSM / name).write_text(value)


def _scans() -> int:
    return int((KSM / "full_scans").read_text())


def _sizes(pids: Iterable[int]) -> list[float]:
    sizes = [proportional_bytes(pid) for pid in pids]
    if len(sizes) != CONTAINERS:
        raise RuntimeError(f"{len(sizes)} processes found for {CONTAINERS} containers")
    return sizes


def remove_from_peer(peer: Containerd, names: Iterable[str]) -> None:
    """Kill and remove those of the containers NAMES that exist."""
    there = set(peer.run("containers", "ls", "--quiet").split())
    for name in there.intersection(names):
        peer.run("tasks", "rm", "--force", name)
        peer.run("containers", "rm", name)


def remove_from_actord(actord: Actord, names: Iterable[str]) -> None:
    """Remove those of the containers NAMES that exist."""
    for name in names:
        try:
            actord.run("rm", "-f", name)
        except RuntimeError:  # it was never made
            continue
