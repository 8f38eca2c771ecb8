"""What the daemon is, and which actors there are: what the supervisor answers to those who look."""

import platform
import re
from collections import Counter
from typing import Any, Final

from actors import __version__
from actors import supervision as s
from actors.linux import cgroups, process
from actors.roster import Roster, kind_of
from actors.settings import Settings
from actors.zygote.birth import Birth
from actors.zygote.place import PROTOCOL

_EXCEPTION: Final = re.compile(r"([A-Za-z_]{1,40}):")


class Tallies:
    """How often what was reported, and how actors have ended, for the metrics."""

    def __init__(self) -> None:
        self._reports: Counter[str] = Counter()
        self._exits: Counter[tuple[str, str]] = Counter()

    def report(self, kind: str) -> None:
        """Count a report of the tree."""
        self._reports[kind] += 1

    def ended(self, name: str, reason: s.ExitReason, *, hung: bool) -> None:
        """Count the end of an actor."""
        self._exits[kind_of(name), "hung" if hung else _in_a_word(reason)] += 1

    def told(self) -> dict[str, Any]:
        """As an answer has them."""
        return {
            "reports": dict(self._reports),
            "exits": [[*key, count] for key, count in self._exits.items()],
        }


def _in_a_word(reason: s.ExitReason) -> str:
    """The exception that ended it, or how it ended."""
    exception = _EXCEPTION.match(reason.text)
    if exception and reason.kind == "abnormal":
        return exception[1]
    if reason.kind == "abnormal" and reason.signal:
        return f"signal {reason.signal}"
    return reason.kind


def version(settings: Settings, birth: Birth) -> dict[str, Any]:
    """What this daemon is."""
    return {
        "version": __version__,
        "protocol": PROTOCOL,
        "node": settings.node,
        "instance": birth.instance,
        "python": platform.python_version(),
        "platform": f"linux/{platform.machine()}",
    }


def info(settings: Settings, birth: Birth, tree: s.Tree, roster: Roster) -> dict[str, Any]:
    """What this daemon works with."""
    return {
        **version(settings, birth),
        "root": str(settings.root),
        "state": str(settings.state),
        "runtime": settings.runtime_name,
        "snapshotter": settings.snapshots_default,
        "kernel": platform.release(),
        "cgroups": cgroups.mounted().kind.value,
        "actors": len(roster.running.keys() - {"supervisor"}) + 2,
        "containers": sum(child.spec.kind == "container" for child in tree.nodes.values()),
        "asleep": len(roster.asleep),
    }


def with_memory(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with what the kernel says of each process; takes its time."""
    for row in rows:
        try:
            row["memory"] = process.proportional_memory(row["pid"]) if row["pid"] else 0
        except OSError:  # it ended meanwhile
            row["memory"] = 0
    return rows
