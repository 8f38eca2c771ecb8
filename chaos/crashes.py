"""Who has ended by an exception of his own, though nothing was done to him that could be the cause.

A crash mends itself, so no other check sees one: what the zygote says of it in the log is all there is. Its
clock is the machine's, whatever a fault has made of an actor's.
"""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.findings import Findings
    from chaos.scene import Scene

UNPROVOKED: Final = "nobody crashes for nothing"
_ENDED: Final = re.compile(
    r"^(\S+ \S+) \w+ +zygote/\d+\[\d+\] (\S+) \(pid \d+\) ended with status 256 (\w+: .*)$", re.MULTILINE
)
_TIME: Final = "%Y-%m-%d %H:%M:%S,%f"


class Crash(NamedTuple):
    """An end by an exception, which was the actor's last words; `at` in seconds since the epoch."""

    at: float
    actor: str
    why: str


def crashes(log: str) -> Iterator[Crash]:
    """All of a daemon's log."""
    for at, actor, why in _ENDED.findall(log):
        yield Crash(datetime.strptime(at, _TIME).astimezone().timestamp(), actor, why)


def check(scene: Scene, findings: Findings) -> None:
    """Of this run: each comes while a resource was missing, or an error had been ordered."""
    began = time.time() - findings.now()
    found = [one._replace(at=one.at - began) for one in crashes(scene.daemon.log.read_text(errors="replace"))]
    unprovoked = [one for one in found if one.at >= 0 and not findings.was_starved(one.at, one.at)]
    text = "; ".join(f"{one.actor} ended at {one.at:.1f} s: {one.why}" for one in unprovoked)
    findings.check(UNPROVOKED, not unprovoked, text)
