"""actr top: the whole daemon, live; or the processes of a container, as the host sees them."""

from __future__ import annotations

from cli.options import Command, Given, Option, UsageError
from cli.table import print_json, print_table, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.live.reading import Readings
    from cli.session import Session

HEADS = ("PID", "INSIDE", "PARENT", "UID", "STATE", "MEMORY", "CPU", "COMMAND")
EVERY, SHORTEST = 2.0, 0.2  # seconds
ONCE = 0.5  # seconds between the two readings that rates need


def run(session: Session, given: Given) -> int:
    """Of a container a table by pid; of the whole a screen, or one print where there is no terminal."""
    if given.arguments:
        return _processes(session, given.arguments[0])
    every = given.number("interval", EVERY)
    if every < SHORTEST:
        raise UsageError(f"--interval wants {SHORTEST} seconds or more, not {every}")
    return _whole(session, every, live=not given.flag("no-stream"))


def _processes(session: Session, name: str) -> int:
    actor = session.container(name)["actor"]
    found = session.ask(actor, "tasks.processes", {})["processes"]
    if session.json:
        print_json(found)
        return 0
    rows = [
        (
            str(one["pid"]),
            str(one["pid_inside"]),
            str(one["ppid"]),
            str(one["uid"]),
            one["state"],
            size(one["memory_bytes"]),
            f"{one['cpu_seconds']:.2f} s",
            one["command"],
        )
        for one in found
    ]
    print_table(HEADS, rows, (7,))
    return 0


def _whole(session: Session, every: float, *, live: bool) -> int:
    import os
    import sys
    import time

    from cli.live.reading import Readings

    readings = Readings(session)
    if session.json:
        readings.take()
        print_json(readings.now)
        return 0
    if live and sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from cli.live.screen import Screen

        Screen(readings, every).show()
        return 0
    readings.take()
    time.sleep(ONCE)
    readings.take()
    _print(readings)
    return 0


def _print(readings: Readings) -> None:
    import sys

    from cli.colour import coloured
    from cli.live.view import WIDE, View, arriving, news, summary, tree
    from cli.table import cut, terminal_width

    width = terminal_width()
    lines = [
        *summary(readings),
        *arriving(readings, width or WIDE),
        *tree(readings, View(), width),
        *news(readings),
    ]
    for line, colour in lines:
        text = cut(line, width) if width else line
        print(coloured(text, colour, sys.stdout) if colour else text)


COMMAND = Command(
    "top",
    "Watch the whole daemon, or list the processes of a container",
    run,
    arguments=("[CONTAINER]",),
    options=(
        Option("--interval", f"time between two readings, {SHORTEST} at least ({EVERY:g})", value="SECONDS"),
        Option("--no-stream", "print one reading and end, as into a pipe or file"),
    ),
)
