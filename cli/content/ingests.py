"""actr content ingests: what is on its way in."""

from __future__ import annotations

import time

from cli.content.ls import FILTER
from cli.options import Command, Given
from cli.table import ago, print_json, print_table, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

HEADS = ("REF", "OFFSET", "TOTAL", "LEASED", "UPDATED")


def run(session: Session, given: Given) -> int:
    """Print them."""
    wish = {"namespace": session.namespace, "filters": given.many("filter")}
    found = session.ask("content", "content.statuses", wish)["ingests"]
    if session.json:
        print_json(found)
        return 0
    now = time.time_ns()
    rows = [
        (
            one["ref"],
            size(one["offset"]),
            size(one["total"]) if one["total"] else "",
            "yes" if one["leased"] else "no",
            ago(one["updated_at"], now),
        )
        for one in found
    ]
    print_table(HEADS, rows, (0,))
    return 0


COMMAND = Command("content ingests", "List what is on its way in", run, options=(FILTER,))
