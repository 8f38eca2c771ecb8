"""actr stats: what containers use, again and again."""

from __future__ import annotations

import sys
import time

from cli.options import Command, Given, Option
from cli.reader import end_with_reader
from cli.table import print_json, print_table, short, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

HEADS = ("CONTAINER", "NAME", "CPU", "MEMORY", "LIMIT", "PIDS", "DISK IN/OUT", "NET IN/OUT")
EVERY = 1.0  # seconds
CLEAR = "\x1b[H\x1b[J"

Sample = dict[str, dict[str, "Any"]]  # by the container's id


def run(session: Session, given: Given) -> int:
    """Of those named, or of all that run; once or until interrupted."""
    if not given.flag("no-stream"):
        end_with_reader()
    before = sample(session, given)
    time.sleep(EVERY if not given.flag("no-stream") else min(EVERY, 0.2))
    while True:
        now = sample(session, given)
        show(session, before, now, live=not given.flag("no-stream"))
        if given.flag("no-stream"):
            return 0
        before = now
        time.sleep(EVERY)


def sample(session: Session, given: Given) -> Sample:
    """One reading of each. Raises RefusedError for one that was named and does not run."""
    ids = [session.container(name)["id"] for name in given.arguments]
    body = {"namespace": session.namespace, "ids": ids}
    return {one["id"]: one for one in session.ask("metrics", "metrics.usage", body)["containers"]}


def show(session: Session, before: Sample, now: Sample, *, live: bool) -> None:
    """Print one reading, at once; processor time is that since the last one."""
    shown = [{"id": key, **one, "cpu_percent": percent(before.get(key), one)} for key, one in now.items()]
    if session.json:
        print_json(shown)
    else:
        if live and sys.stdout.isatty():
            print(CLEAR, end="")
        print_table(HEADS, [_row(one) for one in shown], (1,))
    sys.stdout.flush()  # a pipe would have it in pieces of 8 KiB, and nobody notices that its reader has gone


def percent(before: dict[str, Any] | None, now: dict[str, Any]) -> float | None:
    """How much of one processor it has used between two readings, in percent; None if nobody knows."""
    if before is None or now.get("cpu_nanoseconds") is None or before.get("cpu_nanoseconds") is None:
        return None
    span = now["at"] - before["at"]
    return round(100.0 * (now["cpu_nanoseconds"] - before["cpu_nanoseconds"]) / span, 2) if span > 0 else None


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    used = one["cpu_percent"]
    return (
        short(one["id"]),
        short(one["name"]) if one["name"] == one["id"] else one["name"],
        "" if used is None else f"{used:.1f} %",
        _size(one.get("memory_bytes")),
        _size(one.get("memory_limit_bytes")),
        str(one.get("pids") or ""),
        f"{_size(one['block_read_bytes'])} / {_size(one['block_written_bytes'])}",
        f"{_size(one['network_received_bytes'])} / {_size(one['network_sent_bytes'])}",
    )


def _size(value: int | None) -> str:
    return "-" if value is None else size(value)


COMMAND = Command(
    "stats",
    "Show what containers use, again and again",
    run,
    arguments=("[CONTAINER...]",),
    options=(Option("--no-stream", "print one reading and end"),),
)
