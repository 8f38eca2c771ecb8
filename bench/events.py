"""Events: a hundred subscribers while events come, a slow one and several filters among them.

Subscribers have a connection each; in a mixture, half hear everything, the others what concerns one topic or
one container. One reads nothing before all has been published. Whether anything was lost or came twice is
decided by the numbers that each has heard: how many, their sum, and that they grew.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.pairs import Comparison
from transport.envelope import parse, request
from transport.zmtp import Dealer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.peers import Actord

SETTINGS: Final = "[events]\nkeep = 1000000\n"
ROOT: Final = Path(__file__).resolve().parents[1]
SUBSCRIBERS: Final = 100
PROCESSES: Final = 2  # that they are in
RATE: Final = 10_000  # events a second
SECONDS: Final = 5
SINGLY: Final = 1_000  # events, of which each is a message of its own
BATCH: Final = 100  # events of one request
WINDOW: Final = 32  # requests under way
GATHER: Final = 50  # milliseconds
TOPICS: Final = ("/bench/a", "/bench/b", "/bench/c", "/bench/d")
FOLLOW: Final = {"follow": True, "namespace": "bench"}
Expected = dict[str, list[int]]  # by topic: how many, sum of their numbers, the last one


def measure(actord: Actord) -> Iterator[Comparison]:
    """One by one, then gathered, then with nobody who leaves anything out."""
    one_by_one = _Run(actord, {})
    yield from one_by_one.comparisons("one by one", one_by_one.publish(SINGLY, 1, 0))
    for title, mixture in (("gathered", True), ("gathered, all of them", False)):
        run = _Run(actord, {"gather": GATHER}, mixture=mixture)
        yield from run.comparisons(title, run.publish(RATE * SECONDS, BATCH, RATE))


class _Run:
    """Subscribers of one kind, from when they have subscribed."""

    def __init__(self, actord: Actord, more: dict[str, Any], *, mixture: bool = True) -> None:
        self._actord = actord
        wish = {**FOLLOW, **more, "after": _last(actord.address)}
        numbers = range(SUBSCRIBERS) if mixture else [0] * SUBSCRIBERS
        wishes = [[*_wish(which, wish), number == 0] for number, which in enumerate(numbers)]
        self._processes = [_started(actord.address, wishes[first::PROCESSES]) for first in range(PROCESSES)]

    def publish(self, number: int, batch: int, rate: int) -> tuple[float, float, Expected]:
        """When it began, when all were journalled, and what there was to hear."""
        numbers = itertools.count()
        expected: Expected = {topic: [0, 0, 0] for topic in ("", *TOPICS)}
        began = time.time()
        with closing(Dealer(self._actord.address)) as door:
            waiting: dict[bytes, list[str]] = {}
            for first in range(0, number, batch):
                wait = began + first / rate - time.time() if rate else 0
                if wait > 0:
                    time.sleep(wait)
                topics = [TOPICS[next(numbers) % len(TOPICS)] for _ in range(batch)]
                asked = _publication(topics, first)
                waiting[asked.id] = topics
                door.send(asked.to_frames())
                while len(waiting) >= WINDOW:
                    _heard(door, waiting, expected)
            while waiting:
                _heard(door, waiting, expected)
        return began, time.time(), expected

    def comparisons(self, title: str, published: tuple[float, float, Expected]) -> Iterator[Comparison]:
        """What came of it. Raises RuntimeError for an event that was lost or came twice."""
        began, done, expected = published
        last = json.dumps({topic: last for topic, (_, _, last) in expected.items()}).encode()
        for process in self._processes:
            _tell(process, last)
        told = [one for process in self._processes for one in _told(process)]
        wrong = [one for one in told if _is_wrong(one, expected[one["topic"]])]
        if wrong:
            raise RuntimeError(f"{len(wrong)} of {len(told)} subscribers: {wrong[0]}, of {expected}")
        yield from _figures(title, told, began, done, expected[""][0])
        memory = {name: [size] for name, size in _memory(self._actord)}
        yield Comparison(f"  most memory so far, {title}", "MiB", memory)


def _is_wrong(one: dict[str, Any], expected: list[int]) -> bool:
    return bool(one["error"] or one["faults"] or one["heard"] != expected[:2])


def _figures(
    title: str, told: list[dict[str, Any]], began: float, done: float, events: int
) -> Iterator[Comparison]:
    over, heard = max(one["over"] for one in told if not one["slow"]), sum(one["heard"][0] for one in told)
    rates = {
        "published": [events / (done - began)],
        "heard by all but one": [events / (over - began)],
        "heard by the slow one, too": [events / (max(one["over"] for one in told) - began)],
    }
    yield Comparison(f"events to {SUBSCRIBERS} subscribers, {title}", "per s", rates)
    yield Comparison(f"  deliveries, {title}", "per s", {"events": [heard / (over - began)]})
    mean = heard / sum(one["messages"] for one in told)
    yield Comparison(f"  events in a message, {title}", "", {"mean": [mean]})


def _wish(number: int, wish: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Of the subscriber of that number: the topic it hears, and its subscription."""
    topic = TOPICS[number // 2 % len(TOPICS)] if number % 2 else ""
    which = {"container_id": topic} if number % 4 == 3 else {"topic": topic}
    return topic, {**wish, **(which if topic else {})}


def _publication(topics: list[str], first: int) -> Any:
    """As large as the exit of a container."""
    events = [
        {
            "topic": topic, "key": f"{os.getpid()}:{time.time_ns()}:{first + index}",
            "body": {"container_id": topic, "id": f"{first + index:064}", "pid": 4711, "exit_status": 0,
                     "exited_at": time.time_ns()},
            "at": time.time_ns(),
        }
        for index, topic in enumerate(topics)
    ]  # fmt: skip
    body = {"namespace": "bench", **events[0], "further": events[1:]}
    return request("events", "events.publish", body, deadline=30_000)


def _heard(door: Dealer, waiting: dict[bytes, list[str]], expected: Expected) -> None:
    """One answer."""
    found = parse(door.receive(60.0))
    if found.re not in waiting:
        return
    if found.type != "FIN":
        raise RuntimeError(f"an event was not taken: {found.value()}")
    for number, topic in enumerate(waiting.pop(found.re), found.value()["seq"]):
        for which in ("", topic):
            count, total, _ = expected[which]
            expected[which] = [count + 1, total + number, number]


def _last(address: str) -> int:
    with closing(Dealer(address)) as door:
        door.send(request("events", "events.subscribe", {"after": 2**62}, credit=1).to_frames())
        while (found := parse(door.receive(60.0))).type != "FIN":
            pass
        return int(found.value()["last"])


def _started(address: str, wishes: list[Any]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "bench.subscribers", address, json.dumps(wishes)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert found.stdout is not None
    if found.stdout.readline() != b"ready\n":
        raise RuntimeError("the subscribers do not come up")
    return found


def _tell(process: subprocess.Popen[bytes], last: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(last)
    process.stdin.close()


def _told(process: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    assert process.stdout is not None
    found: list[dict[str, Any]] = json.loads(process.stdout.read())
    process.wait()
    return found


def _memory(actord: Actord) -> Iterator[tuple[str, float]]:
    """The most that two of its processes have ever had resident."""
    for one in json.loads(actord.run("actors", "--format", "json")):
        if one["name"] in ("router", "events"):
            status = Path(f"/proc/{one['pid']}/status").read_text()
            found = next(line for line in status.splitlines() if line.startswith("VmHWM"))
            yield one["name"], int(found.split()[1]) * 1024
