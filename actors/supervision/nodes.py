"""The state of the tree: supervisors, children, timers, and the signals between the levels.

One object graph, changed in place by `decide` alone. Names are unique in the whole tree; `nodes` finds a
child by name at once, so that an event costs the same with ten children and with ten thousand.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, StrEnum

from actors.supervision.effects import CancelTimer, Effect, Reply, ReplyError, Report, ReportKind, SetTimer
from actors.supervision.events import Adopt, RequestId
from actors.supervision.reason import ExitReason
from actors.supervision.spec import ChildSpec


class Phase(StrEnum):
    """Where a child is in its life; the values are what `which_children` shows."""

    DOWN = "undefined"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    ASLEEP = "asleep"  # without a process until there is something to do; not down, and no crash


ALIVE = (Phase.STARTING, Phase.RUNNING, Phase.STOPPING)
UP = (Phase.STARTING, Phase.RUNNING)
WITHOUT_PROCESS = (Phase.RESTARTING, Phase.ASLEEP)
"""Not down, but there is nothing to stop."""


class Cause(Enum):
    """Why a child is being started: it decides what a failure to start means."""

    BOOT = "start"  # part of its supervisor's own start, which fails with it
    RESTART = "restart"  # it ended before; a failure is tried again
    ADDED = "start_child"  # a call; a failure is the call's error and drops the specification
    REVIVED = "restart_child"  # a call; a failure is the call's error
    ADOPTED = "adopt"  # it was running already
    WOKEN = "wake"  # it was asleep; a failure is tried again


class Signal(Enum):
    """What one level tells the next; delivered by `decide` in the order they were sent."""

    ADVANCE = "take the next step of the plan"
    UP = "the child is running"
    IGNORED = "the child chose not to run"
    FAILED = "the child could not start"
    EXITED = "the child ended by itself"
    STOPPED = "the child ended as it was asked to"


class TimerKind(Enum):
    """What is due when a timer fires."""

    RESTART = "restart"
    KILL = "kill"
    KILL_ALL = "kill_all"


@dataclass(slots=True, eq=False)
class Child:
    """One entry of a supervisor's list."""

    spec: ChildSpec
    parent: "Supervisor | None"
    order: int = 0
    phase: Phase = Phase.DOWN
    cause: Cause = Cause.BOOT
    pid: int | None = None
    incarnation: int = 0
    info: object = None
    started_at: float = 0.0
    was_up: bool = False  # ready at least once in this incarnation
    failures: int = 0  # in a row, since it was last healthy
    reason: ExitReason | None = None  # how it last ended
    held: bool = False  # a person stopped it: only a person starts it again
    doomed: bool = False  # its supervisor is about to stop it
    hung: bool = False  # being stopped because it hung: that counts as a crash
    kill_wanted: bool = False  # SIGKILL as soon as the pid is known
    killed: bool = False  # SIGKILL has been sent
    timer: str | None = None
    starter: RequestId | None = None  # the call to answer once it runs
    stoppers: list[RequestId] = field(default_factory=list)  # the calls to answer once it is down

    @property
    def name(self) -> str:
        """The actor's full name."""
        return self.spec.id


@dataclass(slots=True, eq=False)
class Plan:
    """The ordered work of a static supervisor: first stop, last to first, then start, first to last."""

    stops: list[Child] = field(default_factory=list)
    starts: deque[Child] = field(default_factory=deque)
    current: Child | None = None  # the child whose stop or start is awaited

    def clear(self) -> None:
        """Forget all of it."""
        self.stops.clear()
        self.starts.clear()
        self.current = None

    def members(self) -> list[Child]:
        """All children that still have a step to come."""
        awaited = [self.current] if self.current is not None else []
        return [*awaited, *self.stops, *self.starts]


@dataclass(slots=True, eq=False)
class Supervisor(Child):
    """A child that has children; it has no process of its own."""

    children: dict[str, Child] = field(default_factory=dict)
    template: dict[str, ChildSpec] = field(default_factory=dict)  # what a rebuild starts from
    plan: Plan = field(default_factory=Plan)
    restarts: deque[float] = field(default_factory=deque)  # times of the restarts within the period
    exit_reason: ExitReason | None = None  # set when it ends on its own account
    brutal: bool = False  # its time to stop has run out: everything below is killed
    shared_timer: str | None = None  # the one deadline of all dynamic children
    last_order: int = 0

    @property
    def dynamic(self) -> bool:
        """Whether its children are keyed by name, made from one template, and independent."""
        return self.spec.supervision.strategy == "dynamic"

    @property
    def grouped(self) -> bool:
        """Whether the end of one child restarts others."""
        return self.spec.supervision.strategy in {"one_for_all", "rest_for_one"}

    @property
    def pattern(self) -> ChildSpec:
        """The template of a dynamic supervisor."""
        return self.spec.children[0]


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer that is set."""

    kind: TimerKind
    child: Child


@dataclass(slots=True, eq=False)
class Tree:
    """Everything the supervisor knows."""

    root: Supervisor
    jitter: Callable[[], float]  # numbers from 0 to 1, seeded by the caller
    now: float = 0.0
    nodes: dict[str, Child] = field(default_factory=dict)
    reserved: dict[str, str] = field(default_factory=dict)  # static name -> its supervisor
    incarnations: dict[str, int] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)  # name -> the last supervisor it ran under
    adopted: dict[str, Adopt] = field(default_factory=dict)  # not yet claimed by their supervisor
    timers: dict[str, Timer] = field(default_factory=dict)
    signals: deque[tuple[Signal, Child, ExitReason | None]] = field(default_factory=deque)
    effects: list[Effect] = field(default_factory=list)
    sequence: int = 0
    booted: bool = False
    over: bool = False

    def emit(self, effect: Effect) -> None:
        """Add to what this decision wants done."""
        self.effects.append(effect)

    def signal(self, signal: Signal, child: Child, reason: ExitReason | None = None) -> None:
        """Tell a level, after what it has been told before."""
        self.signals.append((signal, child, reason))

    def reply(self, request: RequestId, result: object) -> None:
        """Answer a call."""
        self.effects.append(Reply(request, result))

    def report(self, kind: ReportKind, child: Child, context: str, reason: ExitReason | None = None) -> None:
        """Publish what happened to a child; the root reports under its own name."""
        supervisor = child.parent or child
        self.effects.append(Report(kind, supervisor.name, context, reason, child.name))

    def refuse_start(self, child: Child, text: str) -> None:
        """Answer the call that waits for the child's start, if there is one, with `unavailable`."""
        if child.starter is not None:
            self.effects.append(ReplyError(child.starter, "unavailable", text))
            child.starter = None

    def set_timer(self, kind: TimerKind, child: Child, delay: float) -> str:
        """Set a timer `delay` seconds from now; returns its key."""
        self.sequence += 1
        key = f"{kind.value}:{child.name}:{self.sequence}"
        self.timers[key] = Timer(kind, child)
        self.effects.append(SetTimer(key, self.now + delay))
        return key

    def cancel_timer(self, child: Child) -> None:
        """Cancel the child's own timer, if one is set."""
        self._cancel(child.timer)
        child.timer = None

    def cancel_shared_timer(self, supervisor: Supervisor) -> None:
        """Cancel the deadline that all children of a dynamic supervisor share, if it is set."""
        self._cancel(supervisor.shared_timer)
        supervisor.shared_timer = None

    def _cancel(self, key: str | None) -> None:
        if key is not None and self.timers.pop(key, None) is not None:
            self.effects.append(CancelTimer(key))
