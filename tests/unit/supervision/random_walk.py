"""A seeded random life of a random tree: everything that can happen to one, in any order.

The same seed gives the same walk. Checked on the way, by the world and after every decision by
`validate_state`; at the end, that the tree heals once the world is kind, and that a shutdown ends all.
"""

from collections import deque
from random import Random

from simulated_world import CRASH, KILLED, SEGFAULT, World, adopt, supervisor, worker

from actors.supervision import (
    NORMAL,
    SHUTDOWN,
    Boot,
    Call,
    ChildSpec,
    Effect,
    Event,
    Exited,
    Hung,
    Ignored,
    Shutdown,
    Slept,
    Spawn,
    StartFailed,
    TimerFired,
    Woken,
    new_tree,
)
from actors.supervision.nodes import Cause, Phase, Supervisor

HABITS = ["ready"] * 8 + [
    "slow",
    "crash",
    "fail",
    "ignore",
    "deaf",
    "deaf_slow",
    "odd",
    "lingering",
    "fork_fails",
]
REASONS = [NORMAL, SHUTDOWN, KILLED, CRASH, SEGFAULT]
QUERIES = ["which_children", "count_children", "get_child_spec"]
CHANGES = ["start_child"] * 3 + ["terminate_child", "restart_child", "delete_child"]


def seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - has to be replayable, not secret


def random_spec(rng: Random, name: str = "root", depth: int = 0) -> ChildSpec:
    strategy = rng.choice(
        ["one_for_one", "one_for_all", "rest_for_one", "dynamic" if depth else "one_for_one"]
    )
    automatic = rng.choice(["never", "never", "any_significant", "all_significant"])
    flags = {
        "strategy": strategy,
        "intensity": rng.choice([0, 1, 3] if depth else [1, 20, 1000]),
        "period": rng.choice([1, 10]),
    }
    flags |= {"auto_shutdown": automatic, "healthy": rng.choice([0.5, 5.0])}
    children = [_random_child(rng, name, n, depth, automatic) for n in range(rng.randint(0, 3))]
    if strategy == "dynamic":
        children = [_random_worker(rng, f"{name}/template", automatic)]
    own = {"restart": rng.choice(["permanent", "permanent", "transient", "temporary"])} if depth else {}
    if depth:
        own["shutdown"] = rng.choice(["infinity", "infinity", "brutal_kill", 300])
    return supervisor(name, *children, **flags, **own)


def _random_child(rng: Random, above: str, number: int, depth: int, automatic: str) -> ChildSpec:
    if depth < 2 and rng.random() < 0.4:
        return random_spec(rng, f"{above}/s{number}", depth + 1)
    return _random_worker(rng, f"{above}/w{number}", automatic)


def _random_worker(rng: Random, name: str, automatic: str) -> ChildSpec:
    restart = rng.choice(["permanent", "permanent", "transient", "temporary"])
    shutdown = rng.choice([0, 200, 5000, "brutal_kill", "infinity"])
    significant = automatic != "never" and restart != "permanent" and rng.random() < 0.5
    return worker(name, restart, shutdown=shutdown, significant=significant, args={"of": name})


class Walk:
    """One random life; `step` makes something happen, `finish` brings it to its end."""

    def __init__(self, seed: int) -> None:
        self.rng = seeded(seed)
        self.spec = random_spec(self.rng)
        self.jitter = seeded(seed).random
        self.world = World(new_tree(self.spec, self.jitter))
        self.past: deque[Event] = deque(maxlen=20)
        self.restarts: dict[tuple[str, int], list[float]] = {}
        self.steps = 0
        self.send(Boot())

    def send(self, event: Event) -> None:
        self.steps += 1
        for effect in self.world.send(event):
            self._check_budget(effect)

    def _check_budget(self, effect: Effect) -> None:
        child = self.world.tree.nodes.get(effect.name) if isinstance(effect, Spawn) else None
        above = child.parent if child is not None else None
        if child is None or above is None or above.grouped or child.cause is not Cause.RESTART:
            return
        times = self.restarts.setdefault((above.name, above.incarnation), [])
        times.append(self.world.now)
        flags = above.spec.supervision
        assert sum(self.world.now - t <= flags.period for t in times) <= flags.intensity

    def step(self) -> None:
        chance = self.rng.random()
        if self.world.pending and chance < 0.6:
            self._deliver()
        elif chance < 0.75:
            self._let_time_pass()
        elif chance < 0.87:
            self._befall()
        elif chance < 0.97:
            self.call()
        elif chance < 0.995 and self.past:
            self.send(self.rng.choice(self.past))  # a duplicate or a late one
        elif chance > 0.999:
            self._replace_supervisor()

    def _deliver(self) -> None:
        # In any order between processes, in order for each of them.
        name = self.rng.choice(self.world.pending).name
        event = next(e for e in self.world.pending if e.name == name)
        self.world.pending.remove(event)
        if isinstance(event, Exited | Ignored | Slept | StartFailed):
            self.past.append(event)
        self.send(event)

    def _let_time_pass(self) -> None:
        world = self.world
        if not world.timers or self.rng.random() < 0.1:
            world.now += self.rng.choice([0.0, 0.5, 20.0])
        if world.timers:
            key = min(world.timers, key=lambda k: world.timers[k])
            world.now = max(world.now, world.timers.pop(key))
            self.send(TimerFired(key))

    def _befall(self) -> None:
        if self.rng.random() < 0.2:
            sleepers = [*self.world.sleeping, *self.world.tree.nodes]
            self.send(Woken(self.rng.choice(sleepers)))  # some of them do not sleep
            return
        if not self.world.living:
            return
        process = self.rng.choice(list(self.world.living.values()))
        if not process.ready and self.rng.random() < 0.5:
            self.world.make_ready(process)
        elif process.ready and self.rng.random() < 0.3:
            self.world.fall_asleep(process)
        elif self.rng.random() < 0.15:
            self.send(Hung(process.name, process.incarnation))
        else:
            self.world.end(process, self.rng.choice(REASONS))

    def call(self) -> None:
        tree = self.world.tree
        above = self.rng.choice([node for node in tree.nodes.values() if isinstance(node, Supervisor)])
        name = self.rng.choice(
            [*above.children, *above.template, f"{above.name}/new{self.rng.randint(0, 2)}"]
        )
        self.world.habits[name] = self.rng.choice(HABITS)
        arguments: dict[str, object] = {"supervisor": above.name, "id": name}
        if not above.dynamic:
            arguments["spec"] = _random_worker(self.rng, name, "never")
        self.world.calls += 1
        operation = self.rng.choice(QUERIES if self.rng.random() < 0.2 else CHANGES)
        self.send(Call(self.world.calls, operation, arguments))

    def _replace_supervisor(self) -> None:
        """SIGKILL for the supervisor's process: its state, timers and pending news are gone."""
        world = self.world
        waiting = [n for n in range(1, world.calls + 1) if n not in world.answers]
        world.calls -= len(waiting)
        world.answers = {n: world.answers[key] for n, key in enumerate(sorted(world.answers), start=1)}
        known = dict(world.tree.incarnations)
        for process in [p for p in world.living.values() if not p.ready]:
            world.end(process, KILLED)
        world.pending.clear()
        world.timers.clear()
        world.tree = new_tree(self.spec, self.jitter)
        self.restarts.clear()
        for process in list(world.living.values()):
            self.send(adopt(process, process.name.rsplit("/", 1)[0]))
        for process in world.sleeping.values():
            self.send(adopt(process, process.name.rsplit("/", 1)[0], asleep=True))
        self.send(Boot(known))

    def heal(self) -> None:
        """The world turns kind: what should run, runs."""
        world = self.world
        world.habits.clear()
        for _ in range(200):
            for process in list(world.living.values()):
                process.habit = "ready"
                child = world.tree.nodes.get(process.name)
                if child is not None and child.phase is Phase.STOPPING:
                    world.end(process, SHUTDOWN)  # it was deaf when it was asked
                elif not process.ready:
                    world.make_ready(process)
            world.settle()
            if not world.timers:
                break
            world.advance(60)
        self._check_healed()

    def _check_healed(self) -> None:
        for child in self.world.tree.nodes.values():
            above = child.parent
            if above is None or above.phase is not Phase.RUNNING or child.spec.restart != "permanent":
                continue
            excused = child.held or child.reason == NORMAL or child.cause is Cause.REVIVED
            well = child.phase in (Phase.RUNNING, Phase.ASLEEP)
            assert well or excused, f"{child.name} was left {child.phase}"

    def finish(self) -> None:
        """Shut down; whatever the processes do, everything ends and every call has its answer."""
        world = self.world
        if world.exit is None:
            self.send(Shutdown())
        for _ in range(300):
            world.settle()
            if world.exit is not None:
                break
            world.advance(60)
            for process in list(world.living.values()):
                world.send(Hung(process.name, process.incarnation))
        assert world.exit is not None
        world.settle()
        assert not world.living
        assert not world.timers
        assert set(world.answers) == set(range(1, world.calls + 1))

    def run(self, steps: int) -> int:
        """A whole life of at most `steps` random steps; returns the decisions made."""
        while self.steps < steps and self.world.exit is None:
            self.step()
        if self.world.exit is None and self.rng.random() < 0.5:
            self.heal()
        self.finish()
        return self.steps
