"""actr keys ls: who may come in."""

from __future__ import annotations

import time

from cli.options import Command, Given, Option
from cli.table import ago, print_json, print_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

HEADS = ("KEY", "ROLE", "CREATED", "PUBLIC")


def run(session: Session, given: Given) -> int:
    """Print them by name."""
    found = session.ask("metadata", "keys.list", {})["keys"]
    if given.flag("quiet"):
        for one in found:
            print(one["name"])
    elif session.json:
        print_json(found)
    else:
        now = time.time_ns()
        rows = [(one["name"], one["role"], ago(one["created_at"], now), one["public"]) for one in found]
        print_table(HEADS, rows, (0, 3))
    return 0


COMMAND = Command(
    "keys ls", "List the keys that are let in", run, options=(Option("-q --quiet", "print names only"),)
)
