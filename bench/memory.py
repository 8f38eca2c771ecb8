"""Memory that one more container costs: containerd's shim beside actord's container actor.

Proportional set size (PSS): pages that processes share are divided among them, so that the figures add up.
It depends on their number: a lone shim of containerd 1.6.20 has 12 MiB, each of twenty has 3 MiB, since they
share the program. Both daemons run at once, each with the same number of idle containers of the same image.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.pairs import Comparison

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.peers import Actord, Containerd

CONTAINERS: Final = 20
IDLE: Final = ("sleep", "3600")


def proportional_bytes(pid: int) -> float:
    """The proportional set size of a process."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB$", text, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"process {pid} has no proportional set size in its smaps_rollup")
    return 1024.0 * int(found[1])


def measure(peer: Containerd, actord: Actord, image: str) -> Comparison:
    """The memory of the shims and of the container actors while CONTAINERS containers idle on each daemon."""
    # Not the same names on both: containerd's runtime state is in one place for all of its daemons.
    peers, actors = (
        [f"{daemon}-idle{number}" for number in range(CONTAINERS)] for daemon in ("peer", "actord")
    )
    try:
        for in_peer, in_actord in zip(peers, actors, strict=True):
            peer.run("run", "--detach", image, in_peer, *IDLE)
            actord.run("run", "-d", "--name", in_actord, image, *IDLE)
        samples = {
            "containerd-shim-runc-v2": _sizes(peer.shims()),
            "actord container actor": _sizes(actord.container_actors()),
        }
    finally:
        _remove_from_peer(peer, peers)
        _remove_from_actord(actord, actors)
    return Comparison("memory per container (PSS)", "MiB", samples)


def _sizes(pids: Iterable[int]) -> list[float]:
    sizes = [proportional_bytes(pid) for pid in pids]
    if len(sizes) != CONTAINERS:
        raise RuntimeError(f"{len(sizes)} processes found for {CONTAINERS} containers")
    return sizes


def _remove_from_peer(peer: Containerd, names: Iterable[str]) -> None:
    """Kill and remove those of the containers NAMES that exist."""
    there = set(peer.run("containers", "ls", "--quiet").split())
    for name in there.intersection(names):
        peer.run("tasks", "rm", "--force", name)
        peer.run("containers", "rm", name)


def _remove_from_actord(actord: Actord, names: Iterable[str]) -> None:
    for name in names:
        try:
            actord.run("rm", "-f", name)
        except RuntimeError:  # it was never made
            continue
