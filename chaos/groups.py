"""Control groups (v1) of our own that a process is put into for a while: frozen, or with no memory left."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
TRIES, PAUSE = 100, 0.02
FEW_PAGES = 64 << 10  # bytes


_SERIAL = itertools.count()
_HOMES: dict[Path, Path] = {}
"""Of each group of ours, where its process came from: two faults may choose the same one."""


class _Borrowed:
    """A process in a group of ours, and the group that it came from."""

    def __init__(self, controller: str, pid: int) -> None:
        self._pid = pid
        now = ROOT / controller / _path(controller, pid).lstrip("/")
        self._home = _HOMES.get(now, now)  # the group of an earlier fault may be gone before ours
        self._group = ROOT / controller / f"chaos-{os.getpid()}-{pid}-{next(_SERIAL)}"
        self._group.mkdir()
        _HOMES[self._group] = self._home
        self._move(self._group)

    def _move(self, group: Path) -> None:
        with contextlib.suppress(ProcessLookupError):
            (group / "cgroup.procs").write_text(str(self._pid))

    def _give_back(self) -> None:
        """Move what is in it home, and remove it."""
        for _ in range(TRIES):
            for pid in (self._group / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    (self._home / "cgroup.procs").write_text(pid)
            try:
                self._group.rmdir()
            except OSError:  # one of its processes is only just ending
                time.sleep(PAUSE)
            else:
                return


class Frozen(_Borrowed):
    """Freezes a process. Raises ProcessLookupError, OSError."""

    def __init__(self, pid: int) -> None:
        super().__init__("freezer", pid)
        (self._group / "freezer.state").write_text("FROZEN")

    def end(self) -> None:
        """Let it go on."""
        (self._group / "freezer.state").write_text("THAWED")
        self._give_back()


class Limited(_Borrowed):
    """Leaves a process a few pages more than nothing: what it takes from now on is charged to the group.

    Raises ProcessLookupError, OSError.
    """

    def __init__(self, pid: int) -> None:
        super().__init__("memory", pid)
        try:
            (self._group / "memory.limit_in_bytes").write_text(str(FEW_PAGES))
        except OSError:  # busy: what it has just taken cannot be taken back
            self._give_back()
            raise

    def end(self) -> None:
        """Take the limit away from whoever lives."""
        (self._group / "memory.limit_in_bytes").write_text("-1")
        self._give_back()


def available(controller: str) -> bool:
    """Whether the machine has that controller as v1."""
    return (ROOT / controller / "cgroup.procs").exists()


def _path(controller: str, pid: int) -> str:
    """The group of a process (cgroups(7), /proc/PID/cgroup). Raises ProcessLookupError."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except FileNotFoundError as error:
        raise ProcessLookupError(pid) from error
    for line in lines:
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return path
    return "/"
