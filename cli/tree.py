"""actr tree: who keeps whom alive, down to the containers and, when asked, the processes in them."""

from __future__ import annotations

from cli.options import Command, Given, Option
from cli.session import RefusedError
from cli.table import cut, print_json, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

LONGEST = 28  # characters of a process
GONE = ("not_found", "failed_precondition", "unavailable")


def run(session: Session, given: Given) -> int:
    """Print the tree once."""
    import sys

    from cli.colour import coloured
    from cli.live.reading import Readings
    from cli.live.view import View, tree
    from cli.table import terminal_width

    readings = Readings(session)
    readings.take()
    below = {}
    if given.flag("processes"):
        actors = {one["name"] for one in readings.now["actors"]}
        for one in readings.now["containers"]:
            name = f"container/{one['namespace']}/{one['id']}"
            if name in actors and one["task"].get("status") in ("running", "paused"):
                one["processes"] = _processes(session, name)
                below[one["id"]] = [_cells(process) for process in one["processes"]]
    if session.json:
        print_json(readings.now)
        return 0
    for text, colour in tree(readings, View(), terminal_width(), below):
        print(coloured(text, colour, sys.stdout) if colour else text)
    return 0


def _processes(session: Session, actor: str) -> list[dict[str, Any]]:
    """Of a container; none of one that has ended meanwhile."""
    try:
        found: list[dict[str, Any]] = session.ask(actor, "tasks.processes", {})["processes"]
    except RefusedError as error:
        if error.code not in GONE:
            raise
        return []
    return found


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    """Those of the tree's columns that a process has."""
    return (
        cut(f"{one['pid_inside']} {one['command']}", LONGEST),
        one["state"],
        "",
        "",
        size(one["memory_bytes"]),
    )


COMMAND = Command(
    "tree",
    "Show who keeps whom alive, down to the processes in containers",
    run,
    options=(Option("-p --processes", "show also the processes in each container"),),
)
