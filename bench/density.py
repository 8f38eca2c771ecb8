"""Two hundred idle containers on each daemon: memory of all its processes by container, and idle load.

The memory is the sum of the proportional set sizes of every process of the daemon (shims are containerd's),
divided by the containers; containers themselves do not count. Idle processor time is that of all these
processes over a minute in which nobody asks them for anything, in parts of one core.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.memory import (
    remove_from_actord,
    remove_from_peer,
    start_idle,
    total_bytes,
    wait_until_asleep,
)
from bench.pairs import Comparison

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.peers import Actord, Containerd

CONTAINERS: Final = 200
QUIET: Final = 60.0  # seconds
ASLEEP_LIMIT: Final = 120.0  # seconds until all sleep
_USER, _SYSTEM = 11, 12  # proc_pid_stat(5), from the field after the command name


def measure(peer: Containerd, actord: Actord, image: str) -> list[Comparison]:
    """Memory and idle processor time with CONTAINERS idle containers on each daemon."""
    peers, actors = (
        [f"{daemon}-dense{number}" for number in range(CONTAINERS)] for daemon in ("peer", "actord")
    )
    daemons = {"containerd and its shims": peer, "actord": actord}
    try:
        start_idle(peer, peers, actord, actors, image)
        wait_until_asleep(actord, ASLEEP_LIMIT)
        memory = {
            case: [total_bytes(daemon.own_processes()) / CONTAINERS] for case, daemon in daemons.items()
        }
        before = {case: processor_seconds(daemon.own_processes()) for case, daemon in daemons.items()}
        began = time.monotonic()
        time.sleep(QUIET)
        span = time.monotonic() - began
        idle = {
            case: [(processor_seconds(daemon.own_processes()) - before[case]) / span]
            for case, daemon in daemons.items()
        }
    finally:
        remove_from_peer(peer, peers)
        remove_from_actord(actord, actors)
    return [
        Comparison(f"all processes by {CONTAINERS} containers", "MiB", memory),
        Comparison(f"idle, of one core, {CONTAINERS} containers", "%", idle),
    ]


def processor_seconds(pids: Iterable[int]) -> float:
    """Processor time of these processes so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        ticks += int(fields[_USER]) + int(fields[_SYSTEM])
    return ticks / os.sysconf("SC_CLK_TCK")
