"""A small world of processes for the supervision tree to live in: tests only, no real process, own clock.

It performs effects as the supervisor actor and the zygote would, and keeps its own books, against which
the tree is checked: who lives, in what order they were started and stopped, which calls were answered.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from actors.supervision import (
    SHUTDOWN,
    Adopt,
    Boot,
    Call,
    CancelTimer,
    ChildSpec,
    Dump,
    Effect,
    Event,
    Exit,
    Exited,
    ExitReason,
    Hung,
    Ignored,
    Kill,
    Reply,
    ReplyError,
    Report,
    Restore,
    SetTimer,
    Shutdown,
    Slept,
    Spawn,
    Spawned,
    Started,
    StartFailed,
    SupervisorFlags,
    Terminate,
    TimerFired,
    Tree,
    Woken,
    decide,
    new_tree,
    validate_state,
)

KILLED = ExitReason("killed", signal=9)
CRASH = ExitReason("abnormal", "crash", exit_code=1)
SEGFAULT = ExitReason("abnormal", "killed by signal 11", signal=11)


@dataclass
class Process:
    """A living process. `habit` is how it behaves: see World.habits."""

    name: str
    pid: int
    incarnation: int
    habit: str
    spec: ChildSpec
    ready: bool = False


@dataclass
class World:
    """Habits: ready (default), ignore, fail, fork_fails, slow (never ready by itself), deaf (slow to none:
    ready, but SIGTERM means nothing to it), deaf_slow (never ready, and deaf), odd (answers SIGTERM by a
    crash), crash (ready, and crashes at once), lingering (ends only when let_end is called)."""

    tree: Tree
    now: float = 1000.0
    habits: dict[str, str] = field(default_factory=dict)
    next_pid: int = 100
    living: dict[int, Process] = field(default_factory=dict)
    sleeping: dict[str, Process] = field(default_factory=dict)  # as the zygote knows them
    pending: deque[Event] = field(default_factory=deque)
    timers: dict[str, float] = field(default_factory=dict)
    answers: dict[object, Reply | ReplyError] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)
    restores: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    log: list[Effect] = field(default_factory=list)
    exit: ExitReason | None = None
    calls: int = 0
    check: bool = True  # the invariants after every decision
    exclusive: bool = True  # that no name runs twice (a search for each start)
    obedience: ExitReason = SHUTDOWN  # how an obedient process answers SIGTERM

    # the loop

    def send(self, event: Event) -> list[Effect]:
        """One decision, performed."""
        effects = decide(self.tree, event, self.now)
        for effect in effects:
            self.log.append(effect)
            self.perform(effect)
        if self.check:
            validate_state(self.tree)
        return effects

    def settle(self) -> None:
        """Deliver what is pending until nothing is."""
        while self.pending:
            self.send(self.pending.popleft())

    def boot(self) -> "World":
        self.send(Boot())
        self.settle()
        return self

    def advance(self, seconds: float) -> None:
        """Let time pass; timers fire in order, each followed by all it leads to."""
        end = self.now + seconds
        while self.timers:
            key = min(self.timers, key=lambda k: self.timers[k])
            if self.timers[key] > end:
                break
            self.now = max(self.now, self.timers.pop(key))
            self.send(TimerFired(key))
            self.settle()
        self.now = end

    # effects

    def perform(self, effect: Effect) -> None:
        match effect:
            case Spawn():
                self._spawn(effect)
            case Terminate():
                if process := self._target(effect.name, effect.pid):
                    self._terminate(process)
            case Kill():
                if process := self._target(effect.name, effect.pid):
                    self.end(process, KILLED)
            case Dump():
                self._target(effect.name, effect.pid)
            case SetTimer():
                assert effect.key not in self.timers
                assert effect.at >= self.now
                self.timers[effect.key] = effect.at
            case CancelTimer():
                del self.timers[effect.key]
            case _:
                self._record(effect)

    def _record(self, effect: Effect) -> None:
        match effect:
            case Reply() | ReplyError():
                assert effect.request not in self.answers, "answered twice"
                self.answers[effect.request] = effect
            case Report():
                self.reports.append(effect)
            case Restore():
                self.restores.append(effect.supervisor)
            case Exit():
                assert self.exit is None
                self.exit = effect.reason

    def _target(self, name: str, pid: int) -> Process | None:
        """The process to signal; None if it has ended and its exit is still to be noticed."""
        process = self.living.get(pid)
        assert process is None or process.name == name, "signal to somebody else's process"
        return process

    def _spawn(self, spawn: Spawn) -> None:
        if self.exclusive:
            assert all(p.name != spawn.name for p in self.living.values()), f"{spawn.name} runs twice"
        self.sleeping.pop(spawn.name, None)
        habit = self.habits.get(spawn.name, "ready")
        if habit == "fork_fails":
            self.pending.append(StartFailed(spawn.name, spawn.incarnation, CRASH))
            return
        self.next_pid += 1
        process = Process(spawn.name, self.next_pid, spawn.incarnation, habit, spawn.spec)
        self.living[process.pid] = process
        self.started.append(spawn.name)
        self.pending.append(Spawned(spawn.name, process.pid, spawn.incarnation))
        if habit in {"ready", "deaf", "odd", "crash", "lingering"}:
            self.make_ready(process)
        if habit == "crash":
            self.end(process, CRASH)
        if habit == "ignore":
            self._gone(process)
            self.pending.append(Ignored(spawn.name, spawn.incarnation))
        if habit == "fail":
            self._gone(process)
            self.pending.append(StartFailed(spawn.name, spawn.incarnation, CRASH))

    def make_ready(self, process: Process) -> None:
        process.ready = True
        self.pending.append(Started(process.name, process.pid, process.incarnation, {"of": process.name}))

    def _terminate(self, process: Process) -> None:
        if process.habit in {"ready", "slow", "crash"}:
            self.end(process, self.obedience)
        if process.habit == "odd":
            self.end(process, SEGFAULT)

    def _gone(self, process: Process) -> None:
        del self.living[process.pid]
        self.ended.append(process.name)

    def end(self, process: Process, reason: ExitReason) -> None:
        """The process ends; its exit is noticed at the next settle."""
        self._gone(process)
        self.pending.append(Exited(process.name, process.pid, process.incarnation, reason))

    def fall_asleep(self, process: Process) -> None:
        """It has nothing to do; that is noticed at the next settle."""
        self._gone(process)
        self.sleeping[process.name] = process
        self.pending.append(Slept(process.name, process.pid, process.incarnation))

    # what tests do and ask

    def sleep(self, name: str) -> None:
        self.fall_asleep(self.process(name))
        self.settle()

    def wake(self, name: str) -> None:
        self.send(Woken(name))
        self.settle()

    def process(self, name: str) -> Process:
        (found,) = [p for p in self.living.values() if p.name == name]
        return found

    def pid(self, name: str) -> int:
        return self.process(name).pid

    def names(self) -> list[str]:
        return sorted(p.name for p in self.living.values())

    def crash(self, name: str, reason: ExitReason = CRASH) -> None:
        self.end(self.process(name), reason)
        self.settle()

    def hang(self, name: str) -> None:
        self.send(Hung(name, self.process(name).incarnation))
        self.settle()

    def ask(self, operation: str, supervisor: str = "root", **arguments: object) -> int:
        """Send a call; returns the request's number."""
        self.calls += 1
        number = self.calls
        self.send(Call(number, operation, {"supervisor": supervisor, **arguments}))
        self.settle()
        return number

    def result(self, operation: str, supervisor: str = "root", **arguments: object) -> object:
        answer = self.answers[self.ask(operation, supervisor, **arguments)]
        assert isinstance(answer, Reply), answer
        return answer.result

    def error(self, operation: str, supervisor: str = "root", **arguments: object) -> str:
        answer = self.answers[self.ask(operation, supervisor, **arguments)]
        assert isinstance(answer, ReplyError), answer
        return answer.code

    def states(self, supervisor: str = "root") -> dict[str, str]:
        children = self.result("which_children", supervisor)
        assert isinstance(children, list)
        return {child["id"]: child["state"] for child in children}

    def counts(self, supervisor: str = "root") -> tuple[int, int, int, int]:
        found = self.result("count_children", supervisor)
        assert isinstance(found, dict)
        return (found["specs"], found["active"], found["supervisors"], found["workers"])

    def shut_down(self) -> None:
        self.ended.clear()
        self.send(Shutdown())
        self.settle()

    def kinds(self, kind: str) -> list[Report]:
        return [report for report in self.reports if report.kind == kind]


def worker(name: str, restart: str = "permanent", **fields: object) -> ChildSpec:
    return ChildSpec.from_dict({"id": name, "kind": "program", "restart": restart, **fields})


def supervisor(name: str, *children: ChildSpec, **flags: Any) -> ChildSpec:
    """A supervisor; keyword arguments are flags, but for `restart`, `shutdown`, `significant`, `enabled`."""
    own = {key: flags.pop(key) for key in ("restart", "shutdown", "significant", "enabled") if key in flags}
    settings = SupervisorFlags(**{"intensity": 3, "period": 10, **flags})
    return ChildSpec(name, type="supervisor", flags=settings, children=children, **own)


def world(*children: ChildSpec, habits: dict[str, str] | None = None, **flags: Any) -> World:
    """A world whose root supervises `children`; not booted."""
    return World(new_tree(supervisor("root", *children, **flags), lambda: 0.0), habits=habits or {})


def dynamic(name: str = "pool", template: ChildSpec | None = None, **flags: Any) -> ChildSpec:
    """A dynamic supervisor."""
    return supervisor(name, template or worker("template"), strategy="dynamic", **flags)


def adopt(process: Process, supervisor_name: str, *, asleep: bool = False) -> Adopt:
    return Adopt(supervisor_name, process.spec, 0 if asleep else process.pid, process.incarnation)
