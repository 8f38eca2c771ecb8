"""One container's world for the state machine: a kernel, a runtime, metadata, clients, and crashes.

The actor of the simulation performs effects one by one and may be killed between any two of them. Then
its memory is gone: what is left is the journal (the state of the last SAVE), what metadata knows, and a
call of the runtime, which ends by itself before the next incarnation looks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from actors import lifecycle as life
from actors.lifecycle import State

E = life.Effect

SLOW = (E.PREPARE, E.START, E.INSPECT, E.RELEASE, E.REMOVE)
"""What works on the same things in a thread of its own: never two of them at once."""
PHASE_OF = {
    E.PREPARE: {"preparing", "starting"},  # the start that was cut off had not begun: nothing to journal
    E.START: {"starting"},
    E.INSPECT: {"starting"},
    E.RELEASE: {"exited", "created"},
    E.SETTLE: {"exited"},
    E.REMOVE: {"removing"},
    E.WATCH: {"running"},
}


class Killed(Exception):  # noqa: N818  # not an error: the point of the exercise
    """The actor has been killed."""


@dataclass
class World:
    """Durable and outside the actor, then the actor's own memory."""

    random: Random
    auto_remove: bool
    crashes: float = 0.05
    journal: State = field(default_factory=State)
    alive: set[int] = field(default_factory=set)
    began: set[int] = field(default_factory=set)
    announced: set[int] = field(default_factory=set)
    start_announced: set[int] = field(default_factory=set)
    uninspected: set[int] = field(default_factory=set)
    wanted_removed: bool = False
    forgotten: bool = False
    kills: int = 0
    steps: int = 0
    state: State = field(default_factory=State)
    pending: list[E] = field(default_factory=list)
    waiting: dict[str, int] = field(default_factory=dict)
    finished: bool = False

    def boot(self) -> None:
        """A new incarnation."""
        self.state, self.pending, self.finished = self.journal, [], False
        self.waiting = dict.fromkeys(("start", "exit", "removal"), 0)
        if self.forgotten:
            self.finished = True
            return
        self.state = life.replace(self.state, auto_remove=self.auto_remove)
        self.happened(life.Loaded(start=False, removed=self.wanted_removed))

    def crash(self) -> None:
        """SIGKILL at this moment. A call of the runtime runs on to its end."""
        self.kills += 1
        if E.START in self.pending and self.random.random() < 0.7:
            self._begin()
        if E.RELEASE in self.pending and self.random.random() < 0.5:
            self.alive.clear()
        if E.REMOVE in self.pending and self.random.random() < 0.5:
            self.wanted_removed = True
        if E.REMOVE in self.pending and self.random.random() < 0.3:
            self._forget()

    def happened(self, fact: life.Fact) -> None:
        self.state, effects = life.decide(self.state, fact)
        for effect in effects:
            self.steps += 1
            if self.random.random() < self.crashes:
                raise Killed
            self._perform(effect)

    def _perform(self, effect: E) -> None:
        allowed = PHASE_OF.get(effect)
        if allowed is not None:
            assert self.journal.phase in allowed, f"{effect} before its state was journalled: {self.journal}"
            assert self.journal.run == self.state.run
        if effect in SLOW:
            busy = [other for other in self.pending if other in SLOW]
            assert not busy, f"{effect} while {busy} is under way"
        match effect:
            case E.SAVE:
                self.journal = self.state
            case E.START:
                assert not self.alive, f"run {self.state.run} starts beside {self.alive}"
                assert self.state.run not in self.began, "started twice"
                self.pending.append(effect)
            case E.KILL:
                self.alive.clear()
            case E.ANNOUNCE_START:
                assert self.state.run in self.began
                self.start_announced.add(self.state.run)
            case E.ANSWER_START:
                self.waiting["start"] = 0
            case E.ANSWER_EXIT:
                assert not self.alive, "the exit is answered before it has come"
                self.waiting["exit"] = 0
            case E.ANSWER_REMOVED:
                assert self.forgotten, "the removal is answered before it is done"
                self.waiting["removal"] = 0
            case E.FINISH:
                self.finished = True
            case E.REPORT | E.ABANDON:
                pass
            case _:
                self.pending.append(effect)

    def _begin(self) -> None:
        self.began.add(self.state.run)
        self.alive.add(self.state.run)

    def _forget(self) -> None:
        assert not self.alive, "removed while it runs"
        self.wanted_removed = self.forgotten = True

    def ready(self) -> list[E]:
        """What may come to its end now: a process that is watched only once it is dead."""
        return [one for one in self.pending if one != E.WATCH or not self.alive]

    def complete(self, effect: E) -> None:
        """This work is done, one way or another."""
        self.pending.remove(effect)
        luck = self.random.random()
        match effect:
            case E.PREPARE:
                self.happened(life.Failed("no image", 125) if luck < 0.2 else life.Prepared())
            case E.START if luck < 0.2:
                self.happened(life.Failed("", 127))
            case E.START:
                self._begin()
                self.happened(life.Started(100 + self.state.run, 1, 2))
            case E.INSPECT:
                self._inspected(luck)
            case E.WATCH:
                self.happened(life.Exited(None if luck < 0.1 else 3, 4))
            case E.RELEASE:
                self.alive.clear()  # a start that failed leaves nothing behind
                self.happened(life.Released())
            case E.SETTLE:
                assert self.state.run in self.began, "an exit of what never ran"
                assert self.state.run not in self.alive, "the exit of what runs"
                self.announced.add(self.state.run)
                self.happened(life.Settled())
            case E.REMOVE:
                self._forget()
                self.happened(life.Removed())

    def _inspected(self, luck: float) -> None:
        run = self.state.run
        if luck < 0.1:
            self.uninspected.add(run)
            self.happened(life.Failed("the runtime does not say", 125))
        elif run in self.began:
            self.happened(life.Started(100 + run, 1, 2))
        else:
            self.happened(life.NeverStarted())

    def ask(self, what: str) -> None:
        """A client's request, as the actor's operations treat it."""
        match what:
            case "start" if not life.refuse_start(self.state):
                self.waiting["start"] += 1
                self.happened(life.Start())
            case "exit" if self.state.phase not in ("created", "gone") and not self.state.settled:
                self.waiting["exit"] += 1
            case "remove" if not life.refuse_remove(self.state, force=self.random.random() < 0.7):
                self.waiting["removal"] += 1
                self.happened(life.Remove())
            case _:
                return

    def step(self) -> None:
        """Something happens."""
        choices = ["start", "exit", "work", "work", "work", "die"]
        choices += ["remove"] if self.random.random() < 0.1 else []
        what = self.random.choice(choices)
        ready = self.ready()
        try:
            if what == "work" and ready:
                self.complete(self.random.choice(ready))
            elif what == "die" and self.alive and self.random.random() < 0.3:
                self.alive.clear()
            else:
                self.ask(what)
        except Killed:
            self.crash()
            self.restart()

    def restart(self) -> None:
        while True:
            try:
                self.boot()
            except Killed:
                self.crash()
            else:
                return

    def settle(self) -> None:
        """No more crashes, the process ends, whatever is under way comes to its end."""
        self.crashes = 0.0
        for _ in range(50):
            if ready := self.ready():
                self.complete(self.random.choice(ready))
            elif self.alive:
                self.alive.clear()
        assert not self.pending, f"still under way: {self.pending} in {self.state}"
        assert self.waiting == dict.fromkeys(self.waiting, 0), f"never answered: {self.waiting} {self.state}"
