"""actr network ls: the networks."""

from __future__ import annotations

from cli.options import Command, Given, Option
from cli.table import print_json, print_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

HEADS = ("NETWORK", "KIND", "SUBNETS", "INTERFACE", "CONTAINERS")


def run(session: Session, given: Given) -> int:
    """Print them by name."""
    found = session.ask("network", "network.list", {})["networks"]
    if given.flag("quiet"):
        for one in found:
            print(one["name"])
    elif session.json:
        print_json(found)
    else:
        rows = [
            (
                one["name"],
                one["kind"] + (", internal" if one["internal"] else ""),
                " ".join(one["subnets"]),
                one["interface"],
                str(one["endpoints"]),
            )
            for one in found
        ]
        print_table(HEADS, rows, (2,), ())
    return 0


COMMAND = Command("network ls", "List networks", run, options=(Option("-q --quiet", "print names only"),))
