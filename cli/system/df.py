"""actr system df: what takes how much space."""

from __future__ import annotations

from cli.options import Command, Given
from cli.table import print_json, print_table, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

HEADS = ("KIND", "COUNT", "USED", "SIZE", "RECLAIMABLE")
SLOW = 3600.0  # seconds for a container that has written millions of files


def run(session: Session, given: Given) -> int:
    """Print a row for each kind of thing."""
    del given
    rows = session.ask("collector", "system.df", {}, limit=SLOW)["rows"]
    if session.json:
        print_json(rows)
        return 0
    cells = [
        (one["kind"], str(one["count"]), str(one["active"]), size(one["size"]), size(one["reclaimable"]))
        for one in rows
    ]
    print_table(HEADS, cells)
    return 0


COMMAND = Command("system df", "See what takes how much space", run)
