"""Exit statuses of orphans, kept until somebody has journalled them.

When a container actor dies, its container's processes become children of the zygote, the nearest
subreaper. The status of each is written down before the zombie is reaped: killed before the write, the
zygote leaves a zombie to init, killed after it a file.
"""

import contextlib
import json
import logging
import time
from collections import OrderedDict
from pathlib import Path

from actors.linux.pidfd import Process

log = logging.getLogger("zygote")
MAX_KEPT = 4096
"""Most orphans are helpers that nobody asks about; the oldest are forgotten first."""


def last_of(pid: int, directory: Path) -> Process | None:
    """The last process with this pid whose exit is kept; for any process, as long as nobody forgets it."""
    starts = [int(path.name.partition("-")[2]) for path in directory.glob(f"{pid}-*")]
    return Process(pid, max(starts)) if starts else None


class Exits:
    """A bounded table of (pid, start time) to wait status, mirrored in one file each."""

    def __init__(self, directory: Path) -> None:
        """Read back what an earlier zygote kept."""
        directory.mkdir(mode=0o700, exist_ok=True)
        self._directory = directory
        self._kept: OrderedDict[Process, tuple[int, int]] = OrderedDict()
        for path in sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime_ns):
            try:
                pid, start = map(int, path.name.split("-"))
                status, at = json.loads(path.read_text())
                self._kept[Process(pid, start)] = (int(status), int(at))
            except (ValueError, TypeError):  # half written when the zygote died; the zombie went to init
                path.unlink()

    def keep(self, process: Process, status: int, at: int = 0) -> None:
        """Write a status down; the caller reaps afterwards. `at`: nanoseconds since the epoch; now, if 0."""
        at = at or time.time_ns()
        try:
            self._file(process).write_text(json.dumps([status, at]))
        except OSError as error:
            log.error("the exit of process %d is kept in memory only: %s", process.pid, error)  # noqa: TRY400
        self._kept[process] = (status, at)
        while len(self._kept) > MAX_KEPT:
            self.forget(next(iter(self._kept)))

    def find(self, process: Process) -> tuple[int, int] | None:
        """Wait status and time (nanoseconds since the epoch), None when it is not known."""
        return self._kept.get(process)

    def forget(self, process: Process) -> None:
        """Its owner has it in a journal now; forgetting twice is fine."""
        if self._kept.pop(process, None) is not None:
            with contextlib.suppress(FileNotFoundError):
                self._file(process).unlink()

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def _file(self, process: Process) -> Path:
        return self._directory / f"{process.pid}-{process.start_time}"
