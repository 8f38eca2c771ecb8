"""The daemon's processes as the kernel shows them, without asking the daemon."""

from __future__ import annotations

import contextlib
import itertools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

COMM_BYTES = 15


@dataclass(frozen=True, slots=True)
class Seen:
    """A process: `comm` is the name that an actor gives itself, `leads` whether it leads a session."""

    pid: int
    start: int
    comm: str
    parent: int
    state: str
    leads: bool

    @property
    def alive(self) -> bool:
        """Neither a zombie nor gone."""
        return self.state not in "ZX"


def look(pid: int) -> Seen | None:
    """A process by its pid; None when there is none (proc(5), stat)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    head, _, tail = stat.rpartition(")")
    fields = tail.split()
    comm = head.partition("(")[2]
    return Seen(pid, int(fields[19]), comm, int(fields[1]), fields[0], int(fields[3]) == pid)


def runs(pid: int, start: int) -> bool:
    """Whether exactly this process lives."""
    seen = look(pid)
    return seen is not None and seen.start == start and seen.alive


def all_of(state: Path) -> list[Seen]:
    """Every process of the daemon with that state directory, the zygote and its forks."""
    mark, found = str(state).encode(), []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_bytes()
            if mark in line and b"actors.zygote" in line and (seen := look(int(entry.name))):
                found.append(seen)
    return found


def actors(state: Path) -> list[Seen]:
    """Those that are actors: each leads a session of its own and has taken its name; a spare has none.

    The keeper has a name, and is none.
    """
    return [
        one
        for one in all_of(state)
        if one.leads and one.alive and not one.comm.startswith(("python", "spare ", "keeper"))
    ]


def keeper(state: Path) -> Seen | None:
    """What has the descriptors of those who sleep, if there is one."""
    return next((one for one in all_of(state) if one.alive and one.comm == "keeper"), None)


def comm_of(name: str) -> str:
    """What the kernel calls the actor `name`."""
    own = name.rpartition("/")[2] if name.startswith("container/") else name
    return own[:COMM_BYTES]


def twice(seen: Iterable[Seen]) -> dict[str, list[int]]:
    """Names that more than one process has, with their pids."""
    pids: dict[str, list[int]] = defaultdict(list)
    for one in seen:
        pids[one.comm].append(one.pid)
    return {name: sorted(found) for name, found in pids.items() if len(found) > 1}


def zombies(parents: Iterable[int]) -> list[int]:
    """Children of `parents` that have ended and were not reaped."""
    wanted, found = set(parents), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            seen = look(int(entry.name))
            if seen is not None and seen.state == "Z" and seen.parent in wanted:
                found.append(seen.pid)
    return found


def descriptors(pid: int) -> int:
    """How many a process has open; 0 when it is gone."""
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return 0


def free_descriptor(pid: int) -> int:
    """The lowest number that it has not open: with that as its limit it gets none. 0 when it is gone."""
    try:
        taken = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(number for number in itertools.count() if number not in taken)
