"""What the kernel tells of a container's control groups: what it uses, and its kills for want of memory.

All that containerd's metrics have is in cgroup_figures.py; here are the few figures that everybody asks for.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from actors.linux.cgroups import Kind, Layout, directories, read

_NO_LIMIT_FROM = 1 << 62  # version 1 has no word for "no limit", only the largest multiple of a page
_NOWHERE = Path("/nonexistent")  # of a controller that is not there


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a container uses; None where the kernel or the layout does not tell (or there is no limit)."""

    memory_bytes: int | None
    memory_limit_bytes: int | None
    cpu_nanoseconds: int | None
    pids: int | None
    oom_kills: int | None


def statistics(layout: Layout, cgroups_path: str) -> Statistics | None:
    """What the container uses now; None when it has no cgroup."""
    if not any(directory.is_dir() for directory in directories(layout, cgroups_path)):
        return None
    relative = cgroups_path.lstrip("/")
    if layout.kind is Kind.V2:
        return _statistics_v2(layout.hierarchies[0] / relative, oom_kills(layout, cgroups_path))
    memory, account, pids = (layout.controllers.get(name, _NOWHERE) for name in ("memory", "cpuacct", "pids"))
    limit = _number(memory / relative / "memory.limit_in_bytes")
    return Statistics(
        memory_bytes=_number(memory / relative / "memory.usage_in_bytes"),
        memory_limit_bytes=limit if limit is not None and limit < _NO_LIMIT_FROM else None,
        cpu_nanoseconds=_number(account / relative / "cpuacct.usage"),
        pids=_number(pids / relative / "pids.current"),
        oom_kills=oom_kills(layout, cgroups_path),
    )


def _statistics_v2(directory: Path, oom_kills: int | None) -> Statistics:
    microseconds = _field(directory / "cpu.stat", "usage_usec")
    return Statistics(
        memory_bytes=_number(directory / "memory.current"),
        memory_limit_bytes=_number(directory / "memory.max"),
        cpu_nanoseconds=microseconds * 1000 if microseconds is not None else None,
        pids=_number(directory / "pids.current"),
        oom_kills=oom_kills,
    )


def oom_kills(layout: Layout, cgroups_path: str) -> int | None:
    """How many processes of it the kernel has killed for want of memory; None when it does not tell."""
    relative = cgroups_path.lstrip("/")
    if layout.kind is Kind.V2:
        return _field(layout.hierarchies[0] / relative / "memory.events", "oom_kill")
    memory = layout.controllers.get("memory", _NOWHERE)
    return _field(memory / relative / "memory.oom_control", "oom_kill")


def oom_notifier(layout: Layout, cgroups_path: str) -> int:
    """A descriptor that becomes readable when the kernel is out of memory for this cgroup (version 1).

    Raises:
        OSError: there is no memory controller, or no such cgroup.
    """
    directory = layout.controllers.get("memory", _NOWHERE) / cgroups_path.lstrip("/")
    with (directory / "memory.oom_control").open() as control:
        descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            (directory / "cgroup.event_control").write_text(f"{descriptor} {control.fileno()}")
        except OSError:
            os.close(descriptor)
            raise
    return descriptor


def block_io(layout: Layout, cgroups_path: str) -> tuple[int | None, int | None]:
    """Bytes read from and written to block devices; None where the kernel does not tell."""
    relative = cgroups_path.lstrip("/")
    try:
        if layout.kind is Kind.V2:
            text, reads, writes = read(layout.root / relative / "io.stat"), "rbytes", "wbytes"
            pairs = [word.split("=") for word in text.split() if "=" in word]
        else:
            name, reads, writes = "blkio.throttle.io_service_bytes_recursive", "Read", "Write"
            text = read(layout.controllers["blkio"] / relative / name)
            pairs = [line.split()[1:] for line in text.splitlines() if len(line.split()) == 3]
    except (OSError, KeyError):
        return None, None
    totals = {name: sum(int(value) for key, value in pairs if key == name) for name in (reads, writes)}
    return totals[reads], totals[writes]


def _number(path: Path) -> int | None:
    """The number in a file; None when the file is missing or says `max`."""
    try:
        return int(read(path))
    except (OSError, ValueError):
        return None


def _field(path: Path, name: str) -> int | None:
    """The number after `name` in a file of such lines."""
    with contextlib.suppress(OSError, ValueError):
        for line in read(path).splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return None
