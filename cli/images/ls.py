"""actr images ls: the images."""

from __future__ import annotations

import time

from cli.options import Command, Given, Option
from cli.table import ago, familiar, print_json, print_table, short

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

HEADS = ("IMAGE", "DIGEST", "UPDATED")


def run(session: Session, given: Given) -> int:
    """Print them by name."""
    found = session.ask("metadata", "images.list", {"namespace": session.namespace})["images"]
    if given.flag("quiet"):
        for one in found:
            print(one["name"])
    elif session.json:
        print_json(found)
    else:
        now = time.time_ns()
        rows = [
            (familiar(one["name"]), short(one["target"]["digest"]), ago(one["updated_at"], now))
            for one in found
        ]
        print_table(HEADS, rows, (0,), (0,))
    return 0


COMMAND = Command("images ls", "List images", run, options=(Option("-q --quiet", "print names only"),))
