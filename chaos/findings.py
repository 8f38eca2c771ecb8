"""What a run has seen: requests, faults, outages, and what did not hold. Written to by many threads."""

from __future__ import annotations

import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from chaos.schedule import WHOLE

UNDERSTOOD: Final = "each client understands what it is told"
LEAD: Final = 0.5  # seconds
MAX_KEPT = 200  # violations in the report; all are counted


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must hold, and did not. `at` in seconds since the run began."""

    invariant: str
    text: str
    at: float
    step: int


@dataclass(slots=True)
class Struck:
    """A fault that was carried out, in seconds since the run began.

    Attributes:
        actor: the actor that was hit, or `zygote` or `everything`.
        recovered: seconds until a new incarnation answered, None when nothing had to come back or nobody
            came to know.
    """

    step: int
    kind: str
    actor: str
    at: float
    seconds: float = 0.0
    recovered: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which an actor did not answer."""

    actor: str
    began: float
    ended: float

    def unexplained(self, causes: Iterable[Struck], grace: float) -> float:
        """The longest stretch of it in which none of these faults lasted, or was over for less than `grace`.

        The probe that began an outage may have been sent a little before the fault.
        """
        at, longest = self.began, 0.0
        for one in sorted(causes, key=lambda one: one.at):
            longest = max(longest, min(one.at - LEAD, self.ended) - at)
            back = one.recovered or 0.0 if one.kind in WHOLE else 0.0  # else that is what is in question
            at = max(at, one.at + one.seconds + back + grace)
        return max(longest, self.ended - at)


@dataclass(slots=True)
class Window:
    """A time in which something was missing: who watches containers, a resource, or an answer.

    Attributes:
        ended: 0 while it lasts.
        containers: ids of those that nobody watched.
        alive: those of them that had not ended when the window did.
    """

    began: float
    ended: float = 0.0
    containers: set[str] = field(default_factory=set)
    alive: set[str] = field(default_factory=set)

    def meets(self, began: float, ended: float) -> bool:
        """Whether they have a moment in common."""
        return self.began <= ended and (not self.ended or self.ended >= began)


@dataclass(slots=True)
class Findings:
    """Of one run."""

    began: float = field(default_factory=time.monotonic)
    step: int = 0
    violations: list[Violation] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    struck: list[Struck] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    unwatched: list[Window] = field(default_factory=list)
    starved: list[Window] = field(default_factory=list)
    unheard: list[Window] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    settled: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def restart(self) -> None:
        """Time begins now."""
        self.began = time.monotonic()

    def now(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.began

    def check(self, invariant: str, holds: object, text: str = "") -> bool:
        """Count a check; note a violation when it does not hold. Returns whether it does."""
        with self._lock:
            self.checked[invariant] += 1
            if holds:
                return True
            self.broken[invariant] += 1
            found = Violation(invariant, text, round(self.now(), 3), self.step)
            if len(self.violations) < MAX_KEPT:
                self.violations.append(found)
        print(f"BROKEN at step {found.step}, {found.at:.1f} s: {invariant}: {text}", flush=True)
        return False

    def uncaught(self, args: threading.ExceptHookArgs) -> None:
        """A thread of the run has ended by an exception: for `threading.excepthook`."""
        who = args.thread.name if args.thread else "a thread"
        self.check(UNDERSTOOD, holds=False, text=f"{who}: {args.exc_type.__name__}: {args.exc_value}")
        print("".join(traceback.format_exception(args.exc_value)), flush=True)

    def request(self, op: str, outcome: str) -> None:
        """A request has ended: `done`, `error` (nothing happened) or `unknown`."""
        with self._lock:
            self.requests[op, outcome] += 1

    def note(self, text: str) -> None:
        """Count something that is worth knowing and no violation."""
        with self._lock:
            self.notes[text] += 1

    def may_be_unknown(self, container: str) -> bool:
        """Whether that container may have ended while nothing watched."""
        return any(container in one.containers - one.alive for one in self.unwatched)

    def was_unwatched(self, container: str, began: float) -> bool:
        """Whether nothing watched that container at a time since."""
        return any(container in one.containers and one.meets(began, self.now()) for one in self.unwatched)

    def was_unheard(self, began: float, ended: float) -> bool:
        """Whether somebody waited for an answer that had been dropped: told, in the end, that it is late."""
        return any(one.meets(began, ended) for one in self.unheard)

    def excuses(self, code: str, began: float, ended: float) -> bool:
        """Whether something that was done to the daemon explains an error of this code."""
        late = code == "deadline_exceeded" and self.was_unheard(began, ended)
        return late or self.was_starved(began, ended)

    def was_starved(self, began: float, ended: float) -> bool:
        """Whether a resource was missing at a time between; then an operation may well fail."""
        return any(one.meets(began, ended) for one in self.starved)
