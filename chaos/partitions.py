"""bin/hosts --matrix: what wires and hosts can do to each other, how soon it is noticed, and what it costs.

For each fault, some rounds: two hosts that know each other are up; one works with the other through its own
daemon (chaos/partition_load.py); the fault begins, and stays until both see it, or for some seconds when
there is nothing to be seen; it ends; and it is over when both are up for each other again, work is done again
and the events have caught up. What must hold each time: no effect twice, none otherwise than was said, no
event lost without a mark, and the container on the other host has noticed nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from chaos import left
from chaos.hosts import CHECKOUT, Host, Hosts, Proxy
from chaos.partition_load import Container, Effects, Following, Marks, View
from tests.e2e import images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HOLD = 4.0  # seconds for which a fault lasts that nobody need notice, or that all have noticed
NOTICE, HEAL = 45.0, 90.0  # seconds after which it is given up
SHARE = 0.02  # of frames that a proxy does something with
HEADS = (
    "fault", "rounds", "noticed", "down", "over", "done", "refused", "in doubt", "twice", "lies",
    "events lost", "gaps", "container",
)  # fmt: skip


@dataclass
class Lab:
    """Three hosts: h1 works with h2, and so does h3, through a proxy."""

    hosts: Hosts
    proxy: Proxy
    container: Container

    @property
    def other(self) -> Host:
        """The one that is worked with."""
        return self.hosts["h2"]


@dataclass(frozen=True)
class Fault:
    """One line of the matrix.

    Attributes:
        begin: has it happen; `end` takes it back.
        near: the host that works with h2.
        blind: whether h2 cannot be asked meanwhile.
        seen: whether it lasts until it has been noticed.
    """

    name: str
    begin: Callable[[Lab], object]
    end: Callable[[Lab], object] = lambda lab: lab.hosts.heal()
    near: str = "h1"
    blind: bool = False
    seen: bool = True


def _told(what: str, kind: str) -> Fault:
    def begin(lab: Lab) -> None:
        lab.proxy.tell(f"{what} {kind} {SHARE}")

    def end(lab: Lab) -> None:
        lab.proxy.tell("pass")

    return Fault(f"proxy: {what} {kind}", begin, end, near="h3", seen=False)


FAULTS = (
    Fault("cut, both ways", lambda lab: lab.hosts.cut("h1", "h2")),
    Fault("cut, h1 to h2", lambda lab: lab.hosts.cut("h1", "h2", both=False)),
    Fault("cut, h2 to h1", lambda lab: lab.hosts.cut("h2", "h1", both=False)),
    Fault("flapping", lambda lab: lab.hosts.wires.flap("h1", "h2", times=6, down=0.5, up=0.5), seen=False),
    Fault("slow, 1 Mbit/s", lambda lab: lab.hosts.slow("h2", rate="1mbit"), seen=False),
    Fault("slow, 64 kbit/s", lambda lab: lab.hosts.slow("h2", rate="64kbit"), seen=False),
    Fault("host frozen", lambda lab: lab.other.freeze(), lambda lab: lab.other.thaw(), blind=True),
    Fault("host killed", lambda lab: lab.other.kill(), lambda lab: lab.other.start(), blind=True),
    _told("frames", "reorder"),
    _told("frames", "duplicate"),
    _told("frames", "drop"),
    _told("bytes", "reorder"),
    _told("bytes", "duplicate"),
    _told("bytes", "drop"),
)


@dataclass
class Line:
    """What the rounds of one fault have shown; times in seconds."""

    fault: str
    noticed: list[float] = field(default_factory=list)
    down: list[float] = field(default_factory=list)
    over: list[float] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def is_well(self) -> bool:
        """Whether all held that must."""
        bad = ("twice", "lies", "lost", "doubled", "touched", "late")
        return not any(self.counts[key] for key in bad)

    def row(self) -> tuple[str, ...]:
        """For the table, as HEADS."""
        keys = ("done", "refused", "unknown", "twice", "lies", "lost", "gaps")
        times = (_spread(one) for one in (self.noticed, self.down, self.over))
        container = f"touched {self.counts['touched']} times" if self.counts["touched"] else "untouched"
        numbers = (str(self.counts[key]) for key in keys)
        return (self.fault, str(self.counts["rounds"]), *times, *numbers, container)


def _spread(times: Sequence[float]) -> str:
    return f"{median(times):.1f} / {max(times):.1f}" if times else "-"


class Round:
    """One fault, once."""

    def __init__(self, lab: Lab, fault: Fault, name: str) -> None:
        near = lab.hosts[fault.near]
        self._lab, self._fault = lab, fault
        self._views = [View(near, lab.other), View(lab.other, near)]
        self._effects = Effects(near, lab.other, name)
        self._marks = Marks(lab.other)
        self._following = Following(near, lab.other)

    def run(self, line: Line) -> None:
        """Add what it shows. Raises RuntimeError: it did not come to an end."""
        threads: list[Any] = [*self._views, self._effects, self._marks, self._following]
        for thread in threads:
            thread.start()
        try:
            self._await("all is well", self._is_well, HEAL)
            began, ended = self._strike()
            self._note_times(line, began, ended)
        finally:
            for thread in threads[:-1]:
                thread.stop()
            self._following.stop(until=time.monotonic() + HEAL)
        self._judge(line)

    def _strike(self) -> tuple[float, float]:
        """When it began, and when it was taken back."""
        views = self._views[: 1 if self._fault.blind else 2]
        began = time.monotonic()
        self._fault.begin(self._lab)
        try:
            if self._fault.seen:
                self._await("it is noticed", lambda: all(one.state == "down" for one in views), NOTICE)
            time.sleep(HOLD)
        finally:
            ended = time.monotonic()
            self._fault.end(self._lab)
        self._await("it is over", lambda: self._is_well(since=ended), HEAL)
        return began, ended

    def _is_well(self, since: float = 0.0) -> bool:
        up = all(one.state == "up" for one in self._views)
        return up and self._following.came_at > since and self._effects.many_done(since)

    def _note_times(self, line: Line, began: float, ended: float) -> None:
        for view in self._views[: 1 if self._fault.blind else 2]:
            for times, states in ((line.noticed, ("suspect", "down")), (line.down, ("down",))):
                at = view.first(states, began)
                if at is not None and at < ended:
                    times.append(at - began)
        ups = [view.changes[-1][0] for view in self._views]
        line.over.append(max(0.0, max([self._effects.first_done(ended), *ups]) - ended))

    def _judge(self, line: Line) -> None:
        line.counts.update({**self._effects.judged(), "rounds": 1, "gaps": self._following.gaps})
        line.counts.update({"lost": self._following.lost, "doubled": self._following.doubled})
        line.counts["touched"] += not self._lab.container.untouched()

    @staticmethod
    def _await(what: str, condition: Callable[[], bool], seconds: float) -> None:
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise RuntimeError(f"not within {seconds:g} s: {what}")
            time.sleep(0.02)


@contextlib.contextmanager
def laboratory(directory: Path) -> Iterator[Lab]:
    """The hosts, with a container that counts on h2."""
    layout = images.busybox(directory / "layout", "latest").directory
    with Hosts(3, directory, temporary=True) as hosts:
        actr(hosts["h2"], "load", "-q", "--base-name", "busybox", "-i", str(layout))
        with contextlib.closing(hosts.proxy(hosts["h2"])) as proxy:
            hosts.introduce(hosts["h2"], hosts["h3"], proxy.endpoint)
            yield Lab(hosts, proxy, Container(hosts["h2"], actr))


def actr(host: Host, *words: str) -> str:
    """Its output. Raises CalledProcessError."""
    command: list[str | Path] = [CHECKOUT / "bin/actr", "--address", host.socket, *words]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True
    )
    return str(done.stdout)


def matrix(lab: Lab, faults: Sequence[Fault], rounds: int, say: Callable[[str], object]) -> list[Line]:
    """All rounds of all faults."""
    lines = []
    for fault in faults:
        line = Line(fault.name)
        before = lab.proxy.count()
        for number in range(rounds):
            try:
                Round(lab, fault, f"{fault.name}-{number}").run(line)
            except RuntimeError as error:
                line.counts["late"] += 1
                say(f"{fault.name}: {error}")
        say(f"{' '.join(line.row())}{_told_of(before, lab.proxy.count()) if fault.near == 'h3' else ''}")
        lines.append(line)
    return lines


def _told_of(before: dict[str, int], now: dict[str, int]) -> str:
    """What a proxy has done meanwhile."""
    return "".join(
        f"; {key}: {now[key] - before.get(key, 0)}" for key in now if now[key] > before.get(key, 0)
    )


def table(lines: Sequence[Line]) -> str:
    """For people; times are median / worst, in seconds."""
    rows = [HEADS, *(line.row() for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows
    )


def main(words: Sequence[str]) -> int:
    """Print the matrix; 1 when something did not hold."""
    parser = argparse.ArgumentParser(
        prog="bin/hosts --matrix",
        description="What partitions between hosts cost, and how soon they are noticed and healed.",
        epilog="Times are in seconds. Exit code: 0 when everything held, else 1.",
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often each fault is made (3)")
    parser.add_argument("--only", default="", metavar="TEXT", help="faults with this in their names (all)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, too")
    given = parser.parse_args(words)
    faults = [one for one in FAULTS if given.only in one.name]
    if not faults or not 1 <= given.rounds <= 1000:
        parser.error(f"1 to 1000 rounds of some of: {', '.join(one.name for one in FAULTS)}")
    directory = Path(tempfile.mkdtemp(prefix="ah-"))
    directory.chmod(0o711)
    try:
        with laboratory(directory) as lab:
            lines = matrix(lab, faults, given.rounds, lambda text: print(text, file=sys.stderr, flush=True))
    finally:
        left.remove(directory)
    print(table(lines))
    if given.json:
        print(json.dumps([vars(line) for line in lines]))
    return 0 if all(line.is_well for line in lines) else 1
