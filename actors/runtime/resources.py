"""Limits: from the caller's wishes to `linux.resources`, and which of them this host can enforce. Pure.

A runtime may pass over a limit whose file is not there. Therefore each is looked for first, and refused by
name when the kernel has no file for it.
"""

from collections.abc import Callable
from typing import Any

from actors.runtime.errors import InvalidSpecError
from actors.runtime.wishes import Ulimit, Wishes

CPU_PERIOD = 100_000  # microseconds
_OPEN_FILES = 1024

# Option: the controller, and the files in cgroups of version 1 and 2 of which one must be there.
_FILES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "memory": ("memory", ("memory.limit_in_bytes",), ("memory.max",)),
    "memory_swap": ("memory", ("memory.memsw.limit_in_bytes",), ("memory.swap.max",)),
    "memory_reservation": ("memory", ("memory.soft_limit_in_bytes",), ("memory.low",)),
    "cpus": ("cpu", ("cpu.cfs_quota_us",), ("cpu.max",)),
    "cpu_shares": ("cpu", ("cpu.shares",), ("cpu.weight",)),
    "cpuset_cpus": ("cpuset", ("cpuset.cpus",), ("cpuset.cpus",)),
    "cpuset_mems": ("cpuset", ("cpuset.mems",), ("cpuset.mems",)),
    "pids_limit": ("pids", ("pids.max",), ("pids.max",)),
    "blkio_weight": ("blkio", ("blkio.weight", "blkio.bfq.weight"), ("io.weight", "io.bfq.weight")),
}
UPDATABLE = frozenset(_FILES)
"""Options that can be changed while a container runs."""

_LIMITS = frozenset(
    [
        "AS",
        "CORE",
        "CPU",
        "DATA",
        "FSIZE",
        "LOCKS",
        "MEMLOCK",
        "MSGQUEUE",
        "NICE",
        "NOFILE",
        "NPROC",
        "RSS",
        "RTPRIO",
        "RTTIME",
        "SIGPENDING",
        "STACK",
    ]
)


def resources(wish: Wishes) -> dict[str, Any]:
    """`linux.resources` less the devices. Only what was asked for is there."""
    memory = {"limit": wish.memory, "swap": wish.memory_swap, "reservation": wish.memory_reservation}
    cpu: dict[str, Any] = {"shares": wish.cpu_shares, "cpus": wish.cpuset_cpus, "mems": wish.cpuset_mems}
    if wish.cpus is not None:
        cpu |= {"period": CPU_PERIOD, "quota": max(1000, round(wish.cpus * CPU_PERIOD))}
    groups = {
        "memory": memory,
        "cpu": cpu,
        "pids": {"limit": wish.pids_limit},
        "blockIO": {"weight": wish.blkio_weight},
    }
    filled = {
        name: {key: value for key, value in group.items() if value not in (None, "")}
        for name, group in groups.items()
    }
    return {name: group for name, group in filled.items() if group}


def refuse_unenforceable(wish: Wishes, *, v2: bool, has_file: Callable[[str, str], bool]) -> None:
    """Refuse a limit for which this host has no file. `has_file` takes a controller and a file's name.

    Raises:
        InvalidSpecError: naming the option and what is missing.
    """
    for option, (controller, version1, version2) in _FILES.items():
        if getattr(wish, option) in (None, ""):
            continue
        names = version2 if v2 else version1
        if not any(has_file(controller, name) for name in names):
            raise InvalidSpecError(
                f"{option.replace('_', '-')} cannot be enforced: this kernel has no {' or '.join(names)}; "
                "leave the option out, or enable the controller"
            )


def rlimits(ulimits: tuple[Ulimit, ...]) -> list[dict[str, Any]]:
    """`process.rlimits`: the caller's, and a modest number of open files.

    Raises:
        InvalidSpecError: an unknown name, or a soft limit above the hard one.
    """
    found = {"NOFILE": (_OPEN_FILES, _OPEN_FILES)}
    for one in ulimits:
        name = one.name.upper().removeprefix("RLIMIT_")
        if name not in _LIMITS:
            raise InvalidSpecError(
                f"ulimit {one.name[:64]!r} is none of {', '.join(sorted(_LIMITS)).lower()}"
            )
        soft, hard = (value if value >= 0 else (1 << 64) - 1 for value in (one.soft, one.hard))
        if soft > hard:
            raise InvalidSpecError(
                f"ulimit {name.lower()}: the soft limit {soft} is above the hard limit {hard}"
            )
        found[name] = (soft, hard)
    return [{"type": f"RLIMIT_{name}", "soft": soft, "hard": hard} for name, (soft, hard) in found.items()]
