"""The containers of the load: what each must print and how it must end, and where it stands."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path

from chaos import processes


def sha256(content: bytes) -> str:
    """Hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def counted(count: int) -> bytes:
    """What `seq COUNT` prints."""
    return b"".join(b"%d\n" % number for number in range(1, count + 1))


def counting(upto: int, code: int) -> str:
    """A shell command that prints that and ends."""
    return f"seq {upto}; exit {code}"


STOP = "/dev/shm/stop"  # noqa: S108  # in a container, where a full disk does not matter


def ticking(code: int, pause: int = 1) -> str:
    """A shell command that counts lines until STOP is there, at which it looks `pause` times between two."""
    line = "if [ $n = 0 ]; then echo $i; i=$((i+1)); fi"
    return f"i=1; n=0; while [ ! -e {STOP} ]; do {line}; n=$(((n+1)%{pause})); sleep 0.2; done; exit {code}"


@dataclass(slots=True)
class Run:
    """One container.

    Attributes:
        code: the exit code that it must have; may be changed when it is to be killed.
        lines: how many numbers it prints; 0 for as many as there is time for.
        init: pid and start time of its first process, once known.
        may_end: whether it may end by now.
        over: the load is done with it.
    """

    id: str
    name: str
    code: int
    lines: int = 0
    began: float = 0.0
    init: tuple[int, int] = (0, 0)
    may_end: bool = False
    created: bool = False
    started: bool = False
    over: bool = False
    ended_code: int | None = None
    ended: bool = False
    marks: list[str] = field(default_factory=list)

    @property
    def actor(self) -> str:
        """Name of its actor."""
        return f"container/c/{self.id}"

    def untouched(self) -> bool:
        """Whether its first process is the one that was started, or may have ended."""
        return not self.init[0] or self.may_end or processes.runs(*self.init)


class Runs:
    """All containers of the load."""

    def __init__(self) -> None:
        self._all: dict[str, Run] = {}
        self._lock = threading.Lock()

    def add(self, run: Run) -> Run:
        """Enter one."""
        with self._lock:
            self._all[run.id] = run
        return run

    def every(self) -> list[Run]:
        """All there ever were."""
        with self._lock:
            return list(self._all.values())

    def open(self) -> list[Run]:
        """Those that the load is not done with."""
        return [run for run in self.every() if not run.over]


def pid_and_start(pid: int) -> tuple[int, int]:
    """A process by pid and start time; zeros when it is gone."""
    seen = processes.look(pid) if pid else None
    return (pid, seen.start) if seen else (0, 0)


def kept_output(root: Path, run: Run) -> Path:
    """The file with its kept standard output."""
    return root / "logs" / "c" / run.id / "stdout"
