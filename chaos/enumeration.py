"""Crash points of one operation, one after the other: kill there, let it heal, look; then kill again there.

A crash point is a failpoint that the operation passes, or a durable system call of an actor that takes part.
Instead of a kill, the system calls may fail with an errno: then the operation may fail cleanly, nobody ends,
and once the disk is well the same operation succeeds.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from chaos import residue
from chaos.expectations import EXPECTED
from chaos.findings import Window
from chaos.scenarios import Worker
from chaos.schedule import STATIC
from chaos.syscalls import KILL, Traced
from chaos.verbs import OPERATIONS
from cli.session import RefusedError
from transport.client import NotRunningError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chaos.faults import Nemesis
    from chaos.operations import Operation
    from chaos.scene import Scene

Seen = TypeVar("Seen")
Case: TypeAlias = "tuple[str, str, Callable[[Operation], contextlib.AbstractContextManager[object]]]"
HOLD: Final = "delay(1500,count=1)"
ASK: Final = 5.0
DURABLE_ACTORS: Final = ("metadata", "content", "snapshots", "events", "network", "bundles")
ZYGOTE: Final = tuple(
    f"zygote.{place}"
    for place in ("spawn.before", "spawn.forked", "spawn.recorded", "spawn.after", "exit.before", "exit.kept")
)


@dataclass(slots=True)
class Outcome:
    """What came of an enumeration: points by kind, how many of them killed somebody, what was broken.

    Attributes:
        refused: how many operations failed with an error, and succeeded when they were repeated.
    """

    points: Counter[str] = field(default_factory=Counter)
    killed: int = 0
    refused: int = 0
    corrupt: int = 0
    leaks: int = 0


class Enumeration:
    """Of one operation on one scene."""

    def __init__(self, scene: Scene, nemesis: Nemesis, verb: str, effect: str = KILL) -> None:
        self._effect = effect
        self._scene, self._findings, self._nemesis, self._verb = scene, scene.findings, nemesis, verb
        # Two runs at once must not give a container the same id: it names a cgroup of the whole machine.
        self._worker = Worker(scene, 1, int.from_bytes(os.urandom(6)), threading.Event())
        self._session = scene.session()
        self.outcome = Outcome()
        self._before: dict[str, Any] = {}

    def perform(self, seconds: float, most: int = 0, seed: int = 0) -> Outcome:
        """All points, or `most` of them, drawn by `seed`, as far as the time goes."""
        ends = time.monotonic() + seconds
        self._once(lambda operation: operation.act())  # what is made once
        self._before = residue.calm(self._scene, self._session)
        failpoints = self._failpoint_cases() if self._effect == KILL else []
        cases = [*failpoints, *self._syscall_cases()]
        if most:
            cases = random.Random(seed).sample(cases, min(most, len(cases)))
        for number, (kind, name, arm) in enumerate(cases, 1):
            if time.monotonic() > ends:
                self._findings.note(f"the time was over: {len(cases) - number + 1} points are left")
                break
            self._findings.step = number
            self.outcome.points[kind] += 1
            began = time.monotonic()
            self._case(name, arm)
            print(f"{number}/{len(cases)} {name}: {time.monotonic() - began:.1f} s", flush=True)
        return self.outcome

    def _once(self, during: Callable[[Operation], Seen]) -> Seen:
        operation = OPERATIONS[self._verb](self._worker)
        operation.prepare()
        found = during(operation)
        operation.settle()
        return found

    def _case(self, name: str, arm: Callable[[Operation], contextlib.AbstractContextManager[object]]) -> None:
        """One point: whatever is broken by it is its fault."""
        corrupt, log = self._findings.broken.total(), self._deaths()

        def whole() -> None:
            operation = OPERATIONS[self._verb](self._worker)
            operation.prepare()
            with arm(operation), self._nemesis.reviving():
                refused = self._acted(operation)
            if refused:
                operation.act()
            operation.settle()

        whole.__name__ = name
        window = Window(self._findings.now())
        if name.startswith("container: "):  # strace may have killed the runtime instead: then it is refused
            self._findings.starved.append(window)
        self._worker.attempt(whole)
        window.ended = self._findings.now()
        self.outcome.corrupt += self._findings.broken.total() - corrupt
        leaks = self._findings.broken[residue.LEAKS]
        residue.check(self._scene, self._session, self._findings, self._before)
        if self._findings.broken[residue.LEAKS] > leaks:
            self.outcome.leaks += 1
            self._before = residue.calm(self._scene, self._session)  # it is told once
        dead = self._deaths() > log
        self.outcome.killed += dead
        if self._effect != KILL:
            self._findings.check(EXPECTED, not dead, f"{name}: an error of the disk has ended an actor")

    def _acted(self, operation: Operation) -> bool:
        """Do it; whether it was refused because of the errors that were meant for it."""
        try:
            operation.act()
        except RefusedError as error:
            if self._effect == KILL:
                raise
            self._findings.note(f"refused: {error.op}: {error.code}")
            self._findings.check(EXPECTED, "\n" not in str(error), f"not one line: {error}")
            self.outcome.refused += 1
            return True
        return False

    def _deaths(self) -> int:
        """How many have been killed so far, zygotes included."""
        return self._scene.daemon.log.read_bytes().count(b" ended with status 9") + self._nemesis.revived

    # Failpoints

    def _failpoint_cases(self) -> list[Case]:
        zygote = (*ZYGOTE, *OPERATIONS[self._verb].zygote)
        names = {name for name in (*self._once(self._passed), *zygote) if self._counts_here(name)}
        cases: list[Case] = []
        for name in sorted(names):
            cases.append(("failpoint", name, partial(self._armed, name, again=False)))
            if not name.startswith("zygote."):
                cases.append(("failpoint, twice", f"{name} twice", partial(self._armed, name, again=True)))
        return cases

    def _counts_here(self, point: str) -> bool:
        only = OPERATIONS[self._verb].only
        return not only or point.partition(".")[0] in only

    def _passed(self, operation: Operation) -> set[str]:
        """The places that it passes, in whatever actor."""
        before = self._counts()
        found: Counter[str] = Counter()
        if operation.hold:
            self._set(operation, operation.hold, HOLD)
            acting = threading.Thread(target=operation.act, daemon=True)
            acting.start()
            while acting.is_alive() and not found[operation.hold]:
                time.sleep(0.02)
                found = self._counts()
            acting.join()
            self._off(operation.hold)
        else:
            operation.act()
        found |= self._counts()
        return {name for name in found if found[name] > before[name]} | set(operation.tail)

    def _counts(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for actor in self._scene.actors(self._session):
            if actor in {"zygote", "router"}:
                continue
            with contextlib.suppress(RefusedError):
                for one in self._session.ask(actor, "failpoints.list", {}, limit=ASK)["points"]:
                    counts[one["name"]] += one["passed"]
        return counts

    @contextlib.contextmanager
    def _armed(self, name: str, operation: Operation, *, again: bool) -> Iterator[None]:
        self._set(operation, name, "kill(count=1)", again=again)
        try:
            yield
        finally:
            self._off(name)

    def _set(self, operation: Operation, name: str, action: str, *, again: bool = False) -> None:
        """In the actor that lives; for those to come, through the supervisor, if there is none or `again`."""
        kind = name.partition(".")[0]
        actor = kind if kind in STATIC else ""
        if kind == "container" and operation.own and operation.run is not None:
            actor = operation.run.actor
        body = {"name": name, "action": action}
        if actor:
            self._session.ask(actor, "failpoints.set", body, limit=ASK)
        if kind != "supervisor" and (again or not actor):
            shared = action.replace("count=1", "count=2") if again and not actor else action
            self._session.ask("supervisor", "failpoints.set", {"name": name, "action": shared}, limit=ASK)

    def _off(self, name: str) -> None:
        """For those to come; and in the one that lives, if it was not the one that died."""
        kind = name.partition(".")[0]
        for actor in {"supervisor", kind if kind in STATIC else "supervisor"}:
            with contextlib.suppress(RefusedError, NotRunningError):
                self._session.ask(actor, "failpoints.set", {"name": name, "action": "off"}, limit=ASK)

    # System calls

    def _syscall_cases(self) -> list[Case]:
        cases: list[Case] = []
        verb = OPERATIONS[self._verb]
        own = ("container",) if verb.own and verb.stays else ()
        for actor in filter(self._counts_here, (*DURABLE_ACTORS, *own)):
            for call, most in sorted(self._once(partial(self._traced_once, actor)).items()):
                for number in range(1, most + 1):
                    name = f"{actor}: {call} {number}"
                    cases.append(("system call", name, partial(self._traced, actor, (call, number))))
        return cases

    def _traced_once(self, actor: str, operation: Operation) -> dict[str, int]:
        with self._traced(actor, None, operation) as traced:
            operation.act()
        return traced.calls()

    def _traced(self, actor: str, at: tuple[str, int] | None, operation: Operation) -> Traced:
        name = operation.run.actor if actor == "container" and operation.run else actor
        pid = self._scene.actors(self._session)[name]["pid"]
        return Traced(pid, self._scene.directory / "strace", at, self._effect)
