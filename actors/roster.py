"""Roster: what the zygote has told the supervisor of each process, beside the tree's own state."""

import os
import time
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import Any

from actors.supervision import ExitReason
from actors.zygote.control import Message

REMEMBERED = 4096  # names not used any more, whose incarnation is still known


@dataclass(slots=True)
class Running:
    """A running incarnation.

    Attributes:
        first: the incarnation that it goes on with, having only slept since.
    """

    kind: str
    pid: int
    incarnation: int
    since: float
    ready: bool
    first: int


@dataclass(frozen=True, slots=True)
class Sleeper:
    """An incarnation that sleeps.

    Attributes:
        first: the incarnation that it went on with, having only slept since.
        watches: whether it sleeps over a process, and not only over what has ended.
    """

    incarnation: int
    first: int
    watches: bool


class Roster:
    """Who runs, who sleeps, how often each has slept, and whose number is still remembered."""

    def __init__(self) -> None:
        self.running: dict[str, Running] = {}
        self.asleep: dict[str, Sleeper] = {}
        self._naps: Counter[str] = Counter()
        self._retired: dict[str, None] = {}

    def adopt(self, child: Message) -> None:
        """One of those whom a supervisor finds at its start."""
        name = child["name"]
        self._naps[name] = child.get("naps", 0)
        if child["pid"]:
            self.note(child, ready=child["ready"])
        else:
            self.asleep[name] = Sleeper(child["inc"], child["first"], bool(child["wakers"]))

    def note(self, event: Message, *, ready: bool) -> Running | None:
        """One that was forked, or is ready; given when it was not known before."""
        name, known = event["name"], self.running.get(event["name"])
        if known is not None and (known.pid, known.incarnation) == (event["pid"], event["inc"]):
            known.ready = ready
            return None
        since, first = event.get("since", time.time()), event.get("first") or event["inc"]
        found = Running(kind_of(name), event["pid"], event["inc"], since, ready, first)
        self.running[name] = found
        self.asleep.pop(name, None)
        return found

    def ended(self, name: str, incarnation: int) -> Running | None:
        """What was known of the incarnation, which is not there any more."""
        known = self.running.get(name)
        if known is not None and known.incarnation == incarnation:
            del self.running[name]
        return known

    def doze(self, name: str) -> None:
        """Count that it fell asleep."""
        self._naps[name] += 1

    def number(self, name: str) -> tuple[int, int]:
        """The incarnation that runs or sleeps, 0 for none, and the one that it goes on with."""
        known = self.running.get(name) or self.asleep.get(name)
        return (known.incarnation, known.first) if known else (0, 0)

    def is_ready(self, name: str) -> bool:
        """Whether it runs, and has said that it has started."""
        return name in self.running and self.running[name].ready

    def retire(self, name: str) -> list[str]:
        """A name is not used any more; gives those that may be forgotten now.

        Its number is forgotten when many others have ended since: no message to it is under way by then.
        """
        self._retired.pop(name, None)
        self._retired[name] = None
        forgotten = list(islice(self._retired, max(0, len(self._retired) - REMEMBERED)))
        for oldest in forgotten:
            del self._retired[oldest]
            self._naps.pop(oldest, None)
        return forgotten

    def row(self, name: str, kind: str, incarnation: int, state: str) -> dict[str, Any]:
        """One line of the list of actors."""
        known = self.running.get(name)
        pid, since = (known.pid, known.since) if known else (0, 0.0)
        return process_row(name, kind, state, pid, incarnation, incarnation - 1 - self._naps[name], since)


def exit_reason(event: Message) -> ExitReason:
    """Why a process has ended, of which the zygote tells so."""
    status, words = event["status"], event["reason"]
    if status is None:
        return ExitReason("abnormal", words or "ended, nobody knows how")
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    reason = ExitReason.from_status(None if number else os.waitstatus_to_exitcode(status), number)
    return ExitReason("abnormal", words, exit_code=reason.exit_code) if words and not number else reason


def kind_of(name: str) -> str:
    """The kind of actor that has such a name."""
    return name.partition("/")[0]


def process_row(
    name: str, kind: str, state: str, pid: int, incarnation: int, restarts: int, since: float
) -> dict[str, Any]:
    """One line of the list of actors."""
    return {
        "name": name,
        "kind": kind,
        "state": state,
        "pid": pid,
        "incarnation": incarnation,
        "restarts": max(0, restarts),
        "started_at": int(since * 1e9),
    }
