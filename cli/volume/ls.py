"""actr volume ls: the volumes."""

from __future__ import annotations

import time

from cli.options import Command, Given, Option
from cli.table import ago, print_json, print_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

HEADS = ("VOLUME", "USED BY", "CREATED")


def run(session: Session, given: Given) -> int:
    """Print them by name."""
    found = session.ask("volumes", "volumes.list", {"namespace": session.namespace})["volumes"]
    if given.flag("quiet"):
        for one in found:
            print(one["name"])
    elif session.json:
        print_json(found)
    else:
        now = time.time_ns()
        rows = [(one["name"], ", ".join(one["used_by"]), ago(one["created_at"], now)) for one in found]
        print_table(HEADS, rows, (0, 1))
    return 0


COMMAND = Command("volume ls", "List volumes", run, options=(Option("-q --quiet", "print names only"),))
