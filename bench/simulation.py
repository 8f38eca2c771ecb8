"""10 to 10,000 entities in what only decides: no process, no socket, a clock of its own.

Each scenario takes so many through a whole life, and what that takes is divided by their number: where it
grows with the number, something looks at all of them for each of them.
"""

from __future__ import annotations

import heapq
import tempfile
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actors import lifecycle
from actors import messages as m
from actors import supervision as s
from actors.call import Call
from actors.collecting import Schedule
from actors.container_samples import families, text
from actors.event_pages import Filter, Pages
from actors.internal_metrics import of_actors
from actors.lookups import answer
from actors.networking.names import zones
from actors.tree import CONTAINERS, TREE
from actors.watching import Watches
from bench.counting import Work, growth, measured
from bench.pairs import Comparison
from storage.collection.reachability import Resource, reachable
from storage.journal import Event, Journal, NewEvent
from storage.metadata import Metadata, NewContainer, Task
from storage.networks import Endpoint, Network, NetworkStore
from transport.envelope import Envelope, note, request
from transport.envelope import answer as final
from transport.switch import Switch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZES: Final = (10, 100, 1_000, 10_000)
SECOND: Final = 10**9
CRASH: Final = s.ExitReason("abnormal", "crash", exit_code=1)
FOLLOWERS: Final = 100
FIGURES: Final = {
    "pids": {"current": 1},
    "cpu": {"usage": {"total": 9, "kernel": 3, "user": 6, "per_cpu": [4, 5]}, "throttling": {"periods": 1}},
    "memory": {**{f"total_{number}": number for number in range(30)}, "usage": {"usage": 15, "limit": 16}},
    "memory_oom_control": {"oom_kill": 0},
    "blkio": dict.fromkeys(
        ("io_merged_recursive", "io_queued_recursive", "io_service_bytes_recursive",
         "io_service_time_recursive", "io_serviced_recursive", "io_time_recursive", "sectors_recursive"),
        (),
    ),
    "hugetlb": [],
}  # fmt: skip


def measure(sizes: tuple[int, ...] = SIZES) -> Iterator[Comparison]:
    """Work by entity at each size; then by which power the whole of it grows between the two largest."""
    exponents: dict[str, dict[str, list[float]]] = {"instructions": {}, "processor time": {}}
    for name, scenario in SCENARIOS.items():
        found = {size: measured(partial(scenario, size)) for size in sizes}
        yield from _by_entity(name, found)
        for index, kind in enumerate(exponents):
            amounts = (found[sizes[-2]][index], found[sizes[-1]][index])
            exponents[kind][name] = [growth((sizes[-2], sizes[-1]), amounts)]
    for kind, cases in exponents.items():
        yield Comparison(f"growth from {sizes[-2]} to {sizes[-1]}: {kind}", "", cases)


def _by_entity(name: str, found: dict[int, Work]) -> Iterator[Comparison]:
    counts = {f"{size}": [work.instructions / size] for size, work in found.items()}
    yield Comparison(f"{name}: instructions", "", counts)
    times = {f"{size}": [work.seconds / size] for size, work in found.items()}
    yield Comparison(f"{name}: processor time", "us", times)


# Supervision


@dataclass
class _Zygote:
    """Performs what the tree decides, at once and without fail."""

    tree: s.Tree = field(default_factory=lambda: s.new_tree(TREE, lambda: 0.5))
    now: float = 1000.0
    pids: int = 1
    living: dict[str, tuple[int, int]] = field(default_factory=dict)  # pid, incarnation
    timers: list[tuple[float, str]] = field(default_factory=list)
    pending: deque[s.Event] = field(default_factory=deque)

    def tell(self, event: s.Event) -> None:
        """And all that it leads to."""
        self.pending.append(event)
        while self.pending:
            for effect in s.decide(self.tree, self.pending.popleft(), self.now):
                self._perform(effect)

    def _perform(self, effect: s.Effect) -> None:
        match effect:
            case s.Spawn(name=name, incarnation=inc):
                self.pids += 1
                self.living[name] = (self.pids, inc)
                self.pending.extend((s.Spawned(name, self.pids, inc), s.Started(name, self.pids, inc)))
            case s.Terminate(name=name) | s.Kill(name=name):
                self.pending.append(s.Exited(name, *self.living.pop(name), s.SHUTDOWN))
            case s.SetTimer(key=key, at=at):
                heapq.heappush(self.timers, (at, key))

    def crash(self, name: str) -> None:
        """One of them, and time passes."""
        self.now += 0.01
        self.tell(s.Exited(name, *self.living.pop(name), CRASH))

    def wait(self) -> None:
        """Until all timers have fired."""
        while self.timers:
            at, key = heapq.heappop(self.timers)
            self.now = max(at, self.now + 0.01)
            self.tell(s.TimerFired(key))


def supervision(number: int) -> None:
    """Start them, let each crash twice, sleep and wake; list them; half end by themselves, then all stop."""
    zygote = _Zygote()
    zygote.tell(s.Boot())
    names = [f"container/default/{one:064}" for one in range(number)]
    for one, name in enumerate(names):
        args = {"namespace": "default", "id": name}
        zygote.tell(s.Call(one, "start_child", {"supervisor": CONTAINERS, "id": name, "args": args}))
    for name in (*names, *names):
        if name in zygote.living:
            zygote.crash(name)
        zygote.wait()
    for name in names:
        zygote.tell(s.Slept(name, *zygote.living.pop(name)))
    for name in names:
        zygote.tell(s.Woken(name))
    zygote.tell(s.Call("list", "which_children", {"supervisor": CONTAINERS}))
    for name in names[: number // 2]:
        zygote.tell(s.Exited(name, *zygote.living.pop(name), s.NORMAL))
        s.retire(zygote.tree, name)
    zygote.tell(s.Shutdown())
    assert zygote.tree.over
    assert not zygote.living


def lives(number: int) -> None:
    """Each container runs, fails, is started again by its policy, then stopped and removed."""
    states: dict[int, lifecycle.State] = {}
    due: list[tuple[float, int, lifecycle.Fact]] = []

    def tell(one: int, fact: lifecycle.Fact, at: float) -> None:
        states[one], effects = lifecycle.decide(states[one], fact)
        for effect in effects:
            for follows in _outcomes(effect, states[one], int(at * SECOND)):
                pause = (
                    lifecycle.pause_before_restart(states[one]) if effect is lifecycle.Effect.RESTART else 0.0
                )
                heapq.heappush(due, (at + pause, one, follows))

    for one in range(number):
        states[one] = lifecycle.State(policy="on-failure", tries=2)
        tell(one, lifecycle.Start(), float(one))
    _until_none(due, tell)
    for one in range(number):
        tell(one, lifecycle.Remove(), 1e6)
    _until_none(due, tell)
    assert all(state.phase == "gone" and state.run == 3 for state in states.values())


def _until_none(due: list[Any], tell: Callable[..., None]) -> None:
    while due:
        at, one, fact = heapq.heappop(due)
        tell(one, fact, at)


def _outcomes(effect: lifecycle.Effect, state: lifecycle.State, at: int) -> list[lifecycle.Fact]:
    """What becomes of an effect in a world in which every process ends at once with 1."""
    match effect:
        case lifecycle.Effect.PREPARE:
            return [lifecycle.Prepared()]
        case lifecycle.Effect.START:
            return [lifecycle.Started(1, 1, at)]
        case lifecycle.Effect.WATCH:
            return [lifecycle.Exited(1, at)]
        case lifecycle.Effect.RELEASE:
            return [lifecycle.Released()]
        case lifecycle.Effect.SETTLE:
            return [lifecycle.Settled()]
        case lifecycle.Effect.RESTART:
            return [lifecycle.RestartDue(state.run)]
        case lifecycle.Effect.REMOVE:
            return [lifecycle.Removed()]
        case _:
            return []


# The router, who watches


def switching(number: int) -> None:
    """An actor and a client for each: asked, answered, late, asleep, ended while somebody waits."""
    switch = Switch(0.0, {"node": "here"})
    supervisor = "supervisor/1"
    switch.receive(supervisor, Envelope("HELLO", id=b"h"), 0.0)
    names = [f"container/default/{one:064}" for one in range(number)]
    for one, name in enumerate(names):
        _note(switch, "router.expect", {"names": [name]})
        switch.receive(f"{name}/1", Envelope("HELLO", id=b"h"), 0.0)
        asked = request(name, "tasks.state", {}, deadline=1000)
        switch.receive(f"~{one:x}", asked, 1.0)
        switch.receive(f"{name}/1", final(asked.forwarded(f"~{one:x}"), {}), 1.1)
        for op, deadline in (("tasks.wait", 0), ("tasks.stats", 1000)):
            switch.receive(f"~{one:x}", request(name, op, {}, deadline=deadline), 2.0 + one / number)
        switch.expire(2.5)
        switch.probe(2.0 + one / 1e6)
    switch.expire(9.0)
    switch.receive("~f", request("router", "router.traffic", {}), 9.0)
    for name in names:
        switch.receive(f"{name}/1", request("router", "router.leave", {}), 9.0)
        _note(switch, "router.down", {"name": name, "inc": 1})
        _note(switch, "router.forget", {"name": name})


def _note(switch: Switch, op: str, body: dict[str, Any]) -> None:
    switch.receive("supervisor/1", note("router", op, body), 9.0)


def watching(number: int) -> None:
    """Each is watched, sleeps and wakes, is watched by another, and ends."""
    running = {f"container/default/{one}": (1, 1) for one in range(number)}
    watches = Watches(running.__getitem__)
    answers: list[Envelope] = []
    for name in running:
        body = m.ActorsWatch(name, 1)
        asked = request("supervisor", "actors.watch", {"name": name, "incarnation": 1})
        watches.add(body, Call(asked, body, answers.append))
    for name in running:
        running[name] = (2, 1)
        watches.goes_on(name, 1, 2)
    for name in running:
        watches.ended(name, 2, CRASH)
    assert len(answers) == number


# What is on record


def recorded(number: int) -> None:
    """Containers are created, report, are found by name and by the beginning of an id, listed, deleted."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        store = Metadata(Path(directory, "metadata.db"), clock=lambda: SECOND)
        with store.transaction():
            for one in range(number):
                store.containers.create("default", NewContainer(f"{one * 7919:064x}"[::-1], f"name{one}"))
                identity = store.containers.get("default", f"name{one}").id
                store.tasks.record(Task("default", identity, 1, "running", pid=1))
            for one in range(number):
                answer(store, m.ContainersGet("default", f"name{one}"))
                answer(store, m.ContainersGet("default", f"{one * 7919:064x}"[::-1][:63]))
            assert len(answer(store, m.ContainersList())["containers"]) == number
            for one in range(number):
                store.containers.delete("default", f"name{one}")
        store.close()


def addresses(number: int) -> None:
    """Containers get an address each, are looked up and named, and let go."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        store = NetworkStore(Path(directory, "networks.db"), clock=lambda: SECOND)
        net = Network("net", "bridge", "br0", ("10.0.0.0/16", "fd00::/64"), ("10.0.0.1", "fd00::1"))
        with store.transaction():
            store.create(net)
            ends = [
                store.connect(Endpoint("net", "default", f"{one:064}", 0, name=f"n{one}"))
                for one in range(number)
            ]
            assert len({address for one in ends for address in one.addresses}) == 2 * number
            zones([net], store.endpoints(network="net"))
            for one in ends:
                store.removing(one)
                store.forget(one)
        store.close()


def journalled(number: int) -> None:
    """Events, of which a hundred followers hear, a few of them only of one container."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        journal = Journal(Path(directory, "events.db"))
        pages, reached = Pages(journal.read), [0] * FOLLOWERS
        wanted = [Filter(container_id=f"{one}") if one % 10 == 0 else Filter() for one in range(FOLLOWERS)]
        for first in range(0, number, 100):
            last = min(first + 100, number)
            journal.append_many(
                [
                    NewEvent("default", "/tasks/exit", {"id": f"{one}"}, one, f"key {one}")
                    for one in range(first, last)
                ]
            )
            pages.renew()
            for one in range(FOLLOWERS):
                reached[one] = pages.after(reached[one], 500, wanted[one]).last
        assert reached == [number] * FOLLOWERS
        journal.trim(number // 2)
        journal.close()


# Metrics, and what is collected


def scraped(number: int) -> None:
    """A scrape with so many containers and their actors."""
    used = [
        ({"container_id": f"{one:064}", "namespace": "d", "runtime": "runc"}, FIGURES)
        for one in range(number)
    ]
    text(families(used), open_metrics=True)
    rows = [
        {"name": f"container/d/{one}", "kind": "container", "state": "asleep", "restarts": 0, "pid": 0}
        for one in range(number)
    ]
    list(of_actors(rows))


def collected(number: int) -> None:
    """Images with ten blobs each, half of which is shared; and a schedule that hears of each change."""
    blobs = [[Resource("content", "d", f"{one * 5 + blob}") for blob in range(10)] for one in range(number)]
    edges = {Resource("images", "d", f"{one}"): found for one, found in enumerate(blobs)}
    assert len(reachable(edges, edges)) == 6 * number + 5
    schedule = Schedule(mutations=100, pause=0.02, startup_delay=0.1)
    schedule.started(0.0)
    for one in range(number):
        schedule.noted(float(one), 1, one % 3)
        if schedule.due is not None and schedule.due <= one:
            schedule.begins()
            schedule.ran(float(one), one + 0.01)


def paged(number: int) -> None:
    """Followers in as many places as there are."""
    pages = Pages(lambda after, most: [Event(after + 1 + one, "d", "/t", None, {}, 0) for one in range(most)])
    for one in range(number):
        pages.after(one * 10, 3, Filter(topic="/t"))


SCENARIOS: Final[dict[str, Callable[[int], None]]] = {
    "supervision": supervision,
    "lives of containers": lives,
    "the router's table": switching,
    "death watches": watching,
    "containers on record": recorded,
    "addresses": addresses,
    "events": journalled,
    "pages of events": paged,
    "a scrape": scraped,
    "collection": collected,
}
