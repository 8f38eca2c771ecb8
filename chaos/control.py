"""A control process that no fault is aimed at: how slow the machine itself is, whatever we do to actord.

It does what the start of an actor is made of (a fork, some work, an exit) again and again, and says how
long that took. A machine that is busy with other things makes it slow as it makes actord slow; a bound in
seconds is widened by that factor, and by no more.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from chaos.findings import Findings

WORST: Final = 6.0  # no bound is widened by more
BASELINE: Final = 20  # measurements from before the load, of which the quickest says what is normal
_PROGRAM: Final = """import os, sys, time
while os.getppid() != 1:
    began = time.monotonic()
    child = os.fork()
    if not child:
        sum(range(50_000))
        os._exit(0)
    os.waitpid(child, 0)
    sys.stdout.write(f"{time.monotonic() - began:.6f}\\n")
    sys.stdout.flush()
    time.sleep(0.1)
"""


class Control:
    """From `with` to the end of its block."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._measured: list[tuple[float, float]] = []  # when, seconds
        self._enough = threading.Event()

    def __enter__(self) -> Self:
        words = [sys.executable, "-S", "-c", _PROGRAM]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        self._enough.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self, lines: IO[str] | None) -> None:
        for line in lines or ():
            self._measured.append((self._findings.now(), float(line)))
            if len(self._measured) >= BASELINE:
                self._enough.set()

    def slowness(self, began: float, ended: float) -> float:
        """How many times slower than normal the machine was between two times of the run; 1 to WORST."""
        return slowness(self._measured, began, ended)

    def summary(self) -> dict[str, float]:
        """For the report: what is normal, in milliseconds, and the slowest and the usual factor."""
        normal = _normal(self._measured)
        factors = sorted(seconds / normal for _, seconds in self._measured) or [1.0]
        return {
            "normal_ms": round(normal * 1000, 2),
            "median": round(factors[len(factors) // 2], 2),
            "max": round(factors[-1], 2),
        }


def _normal(measured: list[tuple[float, float]]) -> float:
    return min((seconds for _, seconds in measured[:BASELINE]), default=1.0)


def slowness(measured: list[tuple[float, float]], began: float, ended: float) -> float:
    """The mean of what was measured in that time, in terms of what is normal; 1 to WORST."""
    found = [seconds for at, seconds in measured if at - seconds <= ended and at >= began]
    if not found:
        return 1.0
    return min(WORST, max(1.0, sum(found) / len(found) / _normal(measured)))
