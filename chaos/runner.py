"""One run from beginning to end: scene, load, followers, the faults of a schedule, and what must hold."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from chaos import crashes, processes, residue, sabotage
from chaos.faults import Nemesis
from chaos.following import SEQUENCE, Follower
from chaos.probing import Prober
from chaos.scenarios import QUIET, Worker
from chaos.schedule import STATIC, WHOLE, Step

if TYPE_CHECKING:
    from chaos.control import Control
    from chaos.findings import Struck
    from chaos.scene import Scene

SINGLE: Final = "one live incarnation per name"
UNTOUCHED: Final = "running containers are untouched"
CONVERGED: Final = "all actors run again in time"
ANSWERING: Final = "unrelated actors answer throughout"
ENDS: Final = "each request ends"
PROGRESS: Final = 100  # steps between two lines that say how far we are
WORKERS: Final = 4
STANDING: Final = 4
CONVERGE_LIMIT: Final = 5.0  # seconds, on a machine that is not slow (chaos/control.py); so are SILENCE, BACK
START_LIMIT: Final = 10.0  # seconds, on such a machine, until the whole daemon is up again
STUCK: Final = 150.0  # seconds after which a request counts as never answered
SILENCE: Final = 4.0  # seconds without an answer that nothing explains
BACK: Final = 2.0  # seconds after a fault that explain a silence, on such a machine


class Run:
    """One run of a schedule."""

    def __init__(self, scene: Scene, seed: int, control: Control, sabotaged: str = "") -> None:
        self._scene, self._findings, self._seed, self._sabotaged = scene, scene.findings, seed, sabotaged
        self._control = control
        self._stop_load, self._stop_probes = threading.Event(), threading.Event()
        self._session = scene.session()
        self._nemesis = Nemesis(scene)
        self._follower = Follower(scene, self._stop_probes)
        self._probers = [
            Prober(scene.socket, self._findings, actor, self._stop_probes) for actor in sorted(STATIC)
        ]
        self._workers = [Worker(scene, number, seed, self._stop_load) for number in range(WORKERS)]
        self._keeper = Worker(scene, WORKERS, seed, self._stop_load)

    def perform(self, steps: Sequence[Step], seconds: float) -> None:
        """Carry the steps out, in at most `seconds`; then check everything."""
        self._warm_up()
        before = residue.calm(self._scene, self._session)
        self._begin()
        try:
            self._go_through(steps, time.monotonic() + seconds)
        except AssertionError as error:  # the daemon did not start or did not end: no step can follow
            self._findings.check(CONVERGED, holds=False, text=str(error))
            self._scene.restart()
        finally:
            self._stop_load.set()
        self._wait_until_well()
        self._end(before)

    def _go_through(self, steps: Sequence[Step], ends: float) -> None:
        for step in steps:
            if time.monotonic() > ends:
                self._findings.note("the time was over before the schedule")
                return
            self._step(step)
            if step.number % PROGRESS == 0:
                now, done = self._findings.now(), len(self._findings.struck)
                print(f"step {step.number} of {len(steps)}: {done} faults in {now:.0f} s", flush=True)

    def _warm_up(self) -> None:
        """What is made once: the namespace's directories, a first event."""
        for _ in range(2):
            self._keeper.attempt(self._keeper.short)
            self._keeper.attempt(self._keeper.worked)

    def _begin(self) -> None:
        pauses = [QUIET if number % 2 else 1 for number in range(STANDING)]  # half of them sleep as a rule
        self._standing = [
            self._keeper.make(30 + number, 0, wanted="running", pause=pause)
            for number, pause in enumerate(pauses)
        ]
        for run in self._standing:
            self._keeper.learn_init(run)
        for thread in (self._follower, *self._probers, *self._workers):
            thread.start()
        if self._sabotaged:
            sabotage.begin(self._sabotaged, self._scene, self._standing[0])

    # One step

    def _step(self, step: Step) -> None:
        self._findings.step = step.number
        time.sleep(step.wait)
        if any(fault.kind in WHOLE for fault in step.faults):
            self._nemesis.settle()
        for fault in step.faults:
            struck = self._nemesis.strike(step.number, fault)
            if struck is not None and fault.kind in WHOLE:
                self._check_start(struck)
        if step.settle:
            self._wait_until_well()
        self._look()

    def _check_start(self, struck: Struck) -> None:
        took = struck.recovered or 0.0
        bound = START_LIMIT * self._control.slowness(struck.at, struck.at + took)
        self._findings.check(CONVERGED, took < bound, f"the daemon was up again after {took:.1f} s")

    def _wait_until_well(self) -> None:
        """What lasts is over, who was killed has answered, and every actor runs."""
        self._nemesis.settle()
        now = self._findings.now
        began = now()
        ill = self._ill()
        while ill and now() - began < CONVERGE_LIMIT * self._control.slowness(began, now()):
            time.sleep(0.03)
            ill &= self._ill()  # who has only just come, or comes back meanwhile, is no concern
        took = now() - began
        self._findings.settled.append(took)
        self._findings.check(CONVERGED, not ill, f"not running after {took:.1f} s: {sorted(ill)}")

    def _ill(self) -> set[str]:
        actors = self._scene.actors(self._session)
        missing = {name for name in STATIC if name not in actors and name != "router"}
        well = {name for name, one in actors.items() if one["pid"] and one["state"] == "running"}
        well |= {name for name, one in actors.items() if one["state"] == "asleep"}
        return missing | (actors.keys() - well)

    def _look(self) -> None:
        """The cheap checks."""
        twice = processes.twice(self._scene.processes())
        if twice:  # one of them may be ending right now
            time.sleep(0.1)
            again = processes.twice(self._scene.processes())
            twice = {name: pids for name, pids in again.items() if pids == twice.get(name)}
        self._findings.check(SINGLE, not twice, f"more than one process is {twice}")
        for run in self._scene.runs.open():
            pid = run.init[0]
            text = f"{run.name} ({run.id[:12]}): its process {pid} has gone"
            self._findings.check(UNTOUCHED, run.untouched(), text)

    # The end

    def _end(self, before: dict[str, object]) -> None:
        self._stop_load.set()
        for worker in self._workers:
            worker.join(STUCK)
            waiting = worker.session.waiting
            text = f"{worker.name} still waits for {waiting[0] if waiting else 'something'}"
            self._findings.check(ENDS, not worker.is_alive(), text)
        self._sabotage_end()
        for run in self._standing:
            self._keeper.attempt(partial(self._keeper.finish, run, stop=True))
        last = self._follower.catch_up(self._session)
        until = time.monotonic() + 20
        while self._follower.reached < last and time.monotonic() < until:
            time.sleep(0.05)
        text = f"the follower has come to event {self._follower.reached} of {last}"
        self._findings.check(SEQUENCE, self._follower.reached >= last, text)
        self._stop_probes.set()
        self._follower.wake(self._session)
        for thread in (*self._probers, self._follower):
            thread.join(STUCK)
        self._nemesis.close()
        self._follower.check()
        self._check_outages()
        crashes.check(self._scene, self._findings)
        self._look()
        residue.check_databases(self._scene, self._findings)
        residue.check(self._scene, self._session, self._findings, before)

    def _sabotage_end(self) -> None:
        if self._sabotaged:
            sabotage.end(self._sabotaged, self._scene, self._standing[0])

    def _check_outages(self) -> None:
        """A silence longer than SILENCE has a cause: a fault of that actor, or of what leads to it."""
        causes = WHOLE | {"router"}
        for outage in self._findings.outages:
            slowness = self._control.slowness(outage.began, outage.ended)
            near = [one for one in self._findings.struck if one.actor in causes | {outage.actor}]
            silent = outage.unexplained(near, BACK * slowness)
            text = (
                f"{outage.actor} was silent from {outage.began:.1f} to {outage.ended:.1f} s, "
                f"{silent:.1f} s of it for no fault"
            )
            self._findings.check(ANSWERING, silent < SILENCE * slowness, text)
