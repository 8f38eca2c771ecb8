"""1, 10, 100 and 1,000 idle containers on actord: what each thing costs with so many, and after a crash.

What grows faster than the containers do is a defect, so each line is to be read down its sizes, which is how
they stand together at the end. At each size a program is run in every container, which has to say in which
one it is; then all of the daemon is killed, and the clock runs from its new start until the actor of every
container has taken it over. What is known is told at once: the whole takes some minutes.
"""

from __future__ import annotations

import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from bench.density import processor_seconds
from bench.memory import IDLE, total_bytes, wait_until_asleep
from bench.pairs import Comparison, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bench.peers import Actord

SETTINGS: Final = '[metrics]\nlisten = "127.0.0.1:0"\n'
SIZES: Final = (1, 10, 100, 1000)
AT_ONCE: Final = 8  # clients
MOST_ROUNDS: Final = 5
REMOVERS: Final = 32  # clients: who outlived a daemon is the init's child, which may take its time to reap it
REMOVED_AT_ONCE: Final = 25  # by one client
ASLEEP_LIMIT: Final = 300.0  # seconds
BACK_LIMIT: Final = 120.0  # seconds after a crash
QUIET: Final = 10.0  # seconds in which nobody asks for anything
UP: Final = ("running", "asleep")
Item = TypeVar("Item")


def measure(actord: Actord, image: str, rounds: int) -> Iterator[Comparison]:
    """What there is to tell of each size; then of each thing, at all sizes."""
    scale = _Scale(actord, image, min(rounds, MOST_ROUNDS))
    try:
        for size in SIZES:
            yield from scale.at(size)
        yield from scale.things()
    finally:
        scale.remove()
    yield Comparison("rm -f, by container", "ms", {f"{SIZES[-1]} containers": [scale.removed]})


@dataclass
class _Scale:
    """A daemon that gets more and more containers."""

    actord: Actord
    image: str
    rounds: int
    ids: dict[str, str] = field(default_factory=dict)  # by name
    removed: float = 0.0  # seconds for each
    _found: dict[tuple[str, str], dict[str, list[float]]] = field(default_factory=dict)

    def at(self, size: int) -> Iterator[Comparison]:
        """Bring it to so many containers, and measure everything."""
        case = f"{size} containers"
        yield self._note(case, "run -d, by container", "ms", [self._fill(size)])
        yield self._note(case, "exec hostname in each, by container", "ms", [self._ask_each()])
        wait_until_asleep(self.actord, ASLEEP_LIMIT)
        yield self._note(case, "memory of all processes, by container", "MiB", [self._memory()])
        yield self._note(case, "idle, of one core", "%", [self._idle()])
        for thing, once in self._things().items():
            yield self._note(case, thing, "ms", [once() for _ in range(self.rounds + 1)][1:])
        yield self._note(case, "text of a scrape", "MiB", [float(len(_scrape(self.actord)[1]))])
        serves, back = self._crash()
        yield self._note(case, "after a crash, until it serves", "s", [serves])
        yield self._note(case, "after a crash, until all are taken over", "s", [back])

    def things(self) -> Iterator[Comparison]:
        """Each at all sizes."""
        for (thing, unit), cases in self._found.items():
            yield Comparison(thing, unit, cases)

    def remove(self) -> None:
        """All of them."""
        began = time.monotonic()
        names = list(self.ids)
        _each([names[first::REMOVERS] for first in range(REMOVERS)], self._remove, REMOVERS)
        self.removed = (time.monotonic() - began) / max(1, len(names))

    def _remove(self, names: list[str]) -> None:
        for first in range(0, len(names), REMOVED_AT_ONCE):
            with suppress(RuntimeError):  # one was never made
                self.actord.run("rm", "-f", *names[first : first + REMOVED_AT_ONCE])

    def _note(self, case: str, thing: str, unit: str, samples: list[float]) -> Comparison:
        self._found.setdefault((thing, unit), {})[case] = samples
        return Comparison(thing, unit, {case: samples})

    def _fill(self, size: int) -> float:
        names = [f"scale{number}" for number in range(len(self.ids), size)]
        self.ids |= dict.fromkeys(names, "")
        began = time.monotonic()
        _each(names, self._start)
        return (time.monotonic() - began) / len(names)

    def _start(self, name: str) -> None:
        self.ids[name] = self.actord.run("run", "-d", "--name", name, self.image, *IDLE).strip()

    def _ask_each(self) -> float:
        """Seconds for each. Raises RuntimeError unless each says that it is the one that was meant."""
        began = time.monotonic()
        _each(list(self.ids), self._ask)
        return (time.monotonic() - began) / len(self.ids)

    def _ask(self, name: str) -> None:
        said = self.actord.run("exec", name, "hostname").strip()
        if not said or not self.ids[name].startswith(said):
            raise RuntimeError(f"{name} is {self.ids[name]}, and says that it is {said!r}")

    def _memory(self) -> float:
        return total_bytes(self.actord.own_processes()) / len(self.ids)

    def _idle(self) -> float:
        pids = self.actord.own_processes()
        before, began = processor_seconds(pids), time.monotonic()
        time.sleep(QUIET)
        return (processor_seconds(pids) - before) / (time.monotonic() - began)

    def _things(self) -> dict[str, Callable[[], float]]:
        client, name = self.actord.client, next(iter(self.ids))
        commands = {
            "actr run --rm true": client("run", "--rm", self.image, "true"),
            "actr exec true": client("exec", name, "true"),
            "actr ps": client("ps"),
            "actr inspect": client("inspect", name),
            "actr events of one container": client("events", "--no-follow", "--container", name),
        }
        things: dict[str, Callable[[], float]] = {
            thing: partial(timed, command) for thing, command in commands.items()
        }
        return things | {
            "a scrape of the metrics": lambda: _scrape(self.actord)[0],
            "a scrape, compressed": lambda: _scrape(self.actord, compressed=True)[0],
        }

    def _crash(self) -> tuple[float, float]:
        """Seconds from the start of a daemon that was killed, with all that belongs to it."""
        self.actord.kill()
        began = time.monotonic()
        self.actord.start()
        serves = time.monotonic() - began
        while (back := _looked_after(self.actord)) < len(self.ids):
            if time.monotonic() - began > BACK_LIMIT:
                raise RuntimeError(f"{back} of {len(self.ids)} have an actor {BACK_LIMIT:.0f} s later")
            time.sleep(0.1)
        return serves, time.monotonic() - began


def _each(items: Iterable[Item], work: Callable[[Item], object], clients: int = AT_ONCE) -> None:
    """Several at once. Raises what the first that failed has raised."""
    with ThreadPoolExecutor(clients) as pool:
        for _ in pool.map(work, items):
            pass


def _scrape(actord: Actord, *, compressed: bool = False) -> tuple[float, bytes]:
    """Seconds, and what came."""
    address = f"http://127.0.0.1:{(actord.state / 'metrics.port').read_text()}/metrics"
    headers = {"Accept-Encoding": "gzip"} if compressed else {}
    began = time.monotonic()
    request = urllib.request.Request(address, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # http, as above
        found: bytes = answer.read()
    return time.monotonic() - began, found


def _looked_after(actord: Actord) -> int:
    """How many containers have an actor that has come up since the crash, be it asleep again."""
    listed = json.loads(actord.run("actors", "--format", "json"))
    return sum(one["name"].startswith("container/") and one["state"] in UP for one in listed)
