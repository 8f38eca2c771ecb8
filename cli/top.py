"""actr top: the processes of a container, as the host sees them."""

from __future__ import annotations

from cli.options import Command, Given
from cli.table import print_json, print_table, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

HEADS = ("PID", "INSIDE", "PARENT", "UID", "STATE", "MEMORY", "CPU", "COMMAND")


def run(session: Session, given: Given) -> int:
    """Print a table by pid."""
    actor = session.container(given.arguments[0])["actor"]
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


COMMAND = Command("top", "List the processes of a container", run, arguments=("CONTAINER",))
