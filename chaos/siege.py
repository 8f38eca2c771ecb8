"""A siege: many containers run, and the zygote and all actors are killed again and again.

No container may die, none may be touched, every exit code must be right; printed is how long it took each
time until every actor worked again.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from chaos.scenarios import Worker
from tests.e2e.daemon import wait_until

if TYPE_CHECKING:
    from chaos.control import Control
    from chaos.runs import Run
    from chaos.scene import Scene

UNTOUCHED: Final = "running containers are untouched"
READY: Final = 5.0  # seconds that are promised, on a machine of its own
PATIENCE: Final = 120.0  # seconds after which it counts as never


@dataclass(slots=True)
class Siege:
    """Of one scene.

    Attributes:
        recovered: seconds from the start of the daemon to the last actor, by round.
        slowness: how many times slower than normal the machine was meanwhile.
    """

    scene: Scene
    control: Control
    recovered: list[float] = field(default_factory=list)
    slowness: list[float] = field(default_factory=list)

    def perform(self, rounds: int, containers: int) -> dict[str, float]:
        """All of it; returns the figures."""
        worker = Worker(self.scene, 1, int.from_bytes(os.urandom(6)), threading.Event())
        runs = [worker.make(1 + number % 99, 0, wanted="running") for number in range(containers)]
        for run in runs:
            worker.learn_init(run)
        for number in range(1, rounds + 1):
            self.scene.findings.step = number
            self._round(runs)
            took, slow = self.recovered[-1], self.slowness[-1]
            print(f"{number}/{rounds}: ready after {took:.2f} s, slower machine: {slow:.1f}", flush=True)
        for run in runs:
            worker.finish(run, stop=True)
        return self._figures(containers)

    def _round(self, runs: list[Run]) -> None:
        self.scene.daemon.kill_everything()
        began, began_at = time.monotonic(), self.scene.findings.now()
        self.scene.restart()
        session = self.scene.session()
        wanted = {run.actor for run in runs}

        def ready() -> bool:
            actors = self.scene.actors(session)
            return wanted <= actors.keys() and all(one["state"] == "running" for one in actors.values())

        wait_until("every actor runs again", ready, PATIENCE)
        self.recovered.append(time.monotonic() - began)
        self.slowness.append(self.control.slowness(began_at, self.scene.findings.now()))
        session.close()
        for run in runs:
            self.scene.findings.check(UNTOUCHED, run.untouched(), f"{run.name} was touched")

    def _figures(self, containers: int) -> dict[str, float]:
        return {
            "containers": containers,
            "rounds": len(self.recovered),
            "median": statistics.median(self.recovered),
            "max": max(self.recovered),
            "late": sum(one > READY for one in self.recovered),
            "slowness": statistics.median(self.slowness),
            "late_for_the_machine": sum(
                took > READY * slow for took, slow in zip(self.recovered, self.slowness, strict=True)
            ),
        }
