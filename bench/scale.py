"""1, 10, 100 and 1,000 idle containers on actord: what each thing costs with so many, and after a crash.

What grows faster than the containers do is a defect, so each line is to be read down its sizes. At the
largest size a program is run in every container, which has to end well in each; then all of the daemon is
killed, and the clock runs from its new start until the actor of every container has taken it over.
"""

from __future__ import annotations

import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from bench.memory import IDLE, remove_from_actord, total_bytes, wait_until_asleep
from bench.pairs import Comparison, timed

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.peers import Actord

SETTINGS: Final = '[metrics]\nlisten = "127.0.0.1:0"\n'
SIZES: Final = (1, 10, 100, 1000)
AT_ONCE: Final = 8  # clients
ASLEEP_LIMIT: Final = 300.0  # seconds
BACK_LIMIT: Final = 120.0  # seconds after a crash
UP: Final = ("running", "asleep")


def measure(actord: Actord, image: str, rounds: int) -> list[Comparison]:
    """A comparison for each thing, whose cases are the sizes; then the largest size by itself."""
    names = [f"scale{number}" for number in range(SIZES[-1])]
    things: dict[str, Callable[[], float]] = {
        "actr run --rm true": lambda: timed(actord.client("run", "--rm", image, "true")),
        "actr exec true": lambda: timed(actord.client("exec", names[0], "true")),
        "actr ps": lambda: timed(actord.client("ps")),
        "a scrape of the metrics": lambda: _scrape(actord),
    }
    samples: dict[str, dict[str, list[float]]] = {thing: {} for thing in things}
    memory: dict[str, list[float]] = {}
    try:
        for there, size in zip((0, *SIZES), SIZES, strict=False):
            began = time.monotonic()
            _each(names[there:size], lambda name: actord.run("run", "-d", "--name", name, image, *IDLE))
            took = time.monotonic() - began
            wait_until_asleep(actord, ASLEEP_LIMIT)
            memory[f"{size} containers"] = [total_bytes(actord.own_processes()) / size]
            for thing, once in things.items():
                samples[thing][f"{size} containers"] = [once() for _ in range(rounds + 1)][1:]
        whole = [*_answers(actord, names, took / (SIZES[-1] - SIZES[-2])), *_crash(actord)]
    finally:
        _each(names, lambda name: remove_from_actord(actord, [name]))
    grown = [Comparison(thing, "ms", found) for thing, found in samples.items()]
    return [*grown, Comparison("memory of all processes, by container", "MiB", memory), *whole]


def _each(names: list[str], work: Callable[[str], object]) -> None:
    """Several at once. Raises what the first that failed has raised."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(work, names):
            pass


def _scrape(actord: Actord) -> float:
    address = f"http://127.0.0.1:{(actord.state / 'metrics.port').read_text()}/metrics"
    began = time.monotonic()
    with urllib.request.urlopen(address, timeout=30) as answer:
        answer.read()
    return time.monotonic() - began


def _answers(actord: Actord, names: list[str], started: float) -> list[Comparison]:
    """A program in each container; raises RuntimeError unless it ends well in all of them."""
    began = time.monotonic()
    _each(names, lambda name: actord.run("exec", name, "true"))
    took = (time.monotonic() - began) / len(names)
    title = f"{len(names)} containers, {AT_ONCE} clients: by container"
    return [Comparison(title, "ms", {"run -d, the last 900": [started], "exec true, in each": [took]})]


def _crash(actord: Actord) -> list[Comparison]:
    """From the start of a daemon that was killed, with all that belongs to it."""
    actord.kill()
    began = time.monotonic()
    actord.start()
    serves = time.monotonic() - began
    while (back := _looked_after(actord)) < SIZES[-1]:
        if time.monotonic() - began > BACK_LIMIT:
            raise RuntimeError(f"{back} of {SIZES[-1]} containers have an actor {BACK_LIMIT:.0f} s later")
        time.sleep(0.1)
    samples = {"it serves": [serves], "all containers taken over": [time.monotonic() - began]}
    return [Comparison(f"{SIZES[-1]} containers, after a crash", "s", samples)]


def _looked_after(actord: Actord) -> int:
    """How many containers have an actor that has come up since the crash, be it asleep again."""
    listed = json.loads(actord.run("actors", "--format", "json"))
    return sum(one["name"].startswith("container/") and one["state"] in UP for one in listed)
