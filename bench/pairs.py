"""Measures commands in turn and sums up. In turn, since the machine drifts by more than what is to be seen.

Every round runs every case once; the order is turned round from one round to the next. The first round is
thrown away. Medians are compared within one run only.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SCALES: Final = {"ms": 1e3, "us": 1e6, "s": 1.0, "MiB": 1 / 2**20, "%": 100.0, "per s": 1.0, "": 1.0}
"""By what a sample, in seconds or bytes, is multiplied to be shown in a unit."""


@dataclass(frozen=True)
class Comparison:
    """The samples of one group, in seconds or bytes, by case; the first case is the one compared against."""

    group: str
    unit: str  # one of SCALES: how the table shows them
    samples: dict[str, list[float]]

    @property
    def base(self) -> str:
        """The case that ratios refer to."""
        return next(iter(self.samples))

    def median(self, case: str) -> float:
        """The median of CASE, in seconds or bytes."""
        return statistics.median(self.samples[case])

    def ratio(self, case: str) -> float:
        """The median of CASE by that of the base."""
        return self.median(case) / self.median(self.base)

    def table(self) -> str:
        """Median, least, most and ratio of each case, a line each."""
        scale = SCALES[self.unit]
        count = len(self.samples[self.base])
        head = f"{self.group} ({self.unit}, n={count})"
        lines = [f"{head:34}{'median':>10}{'min':>10}{'max':>10}{'ratio':>8}"]
        for case, values in self.samples.items():
            shown = [scale * value for value in (self.median(case), min(values), max(values))]
            numbers = "".join(f"{value:10.2f}" for value in shown)
            lines.append(f"  {case:32}{numbers}{self.ratio(case):8.2f}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        """Medians, ratios and the raw samples, in seconds or bytes."""
        cases = {
            case: {"median": self.median(case), "ratio": self.ratio(case), "samples": values}
            for case, values in self.samples.items()
        }
        return {"group": self.group, "base": self.base, "cases": cases}


def in_turn(cases: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each case returns in ROUNDS rounds, without the first, unmeasured one."""
    samples: dict[str, list[float]] = {case: [] for case in cases}
    order = list(cases)
    for number in range(rounds + 1):
        for case in order:
            value = cases[case]()
            if number:
                samples[case].append(value)
        order.reverse()
    return samples


def timed(command: list[str], env: Mapping[str, str] | None = None) -> float:
    """The seconds from before COMMAND is started until it has ended.

    Through posix_spawn, which costs less than a millisecond, where subprocess would add several.

    Raises:
        RuntimeError: it failed; with what it wrote to standard error.
    """
    with tempfile.TemporaryFile() as errors:
        redirect = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, errors.fileno(), 2),
        ]
        began = time.perf_counter()
        pid = os.posix_spawnp(command[0], command, env or os.environ, file_actions=redirect)
        _, status = os.waitpid(pid, 0)
        seconds = time.perf_counter() - began
        if status:
            errors.seek(0)
            text = errors.read().decode(errors="replace").strip()
            raise RuntimeError(f"{' '.join(command)}: exit {os.waitstatus_to_exitcode(status)}: {text}")
    return seconds
