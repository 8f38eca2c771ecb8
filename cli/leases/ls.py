"""actr leases ls: the leases of a namespace."""

from __future__ import annotations

import time

from cli.options import Command, Given, Option
from cli.table import ago, print_json, print_table, span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

HEADS = ("LEASE", "CREATED", "EXPIRES", "HOLDER")


def run(session: Session, given: Given) -> int:
    """Print them by id."""
    wish = {"namespace": session.namespace, "filters": given.many("filter")}
    found = session.ask("metadata", "leases.list", wish)["leases"]
    if given.flag("quiet"):
        for one in found:
            print(one["id"])
    elif session.json:
        print_json(found)
    else:
        now = time.time_ns()
        rows = [
            (one["id"], ago(one["created_at"], now), _expires(one["expires_at"], now), one["holder"])
            for one in found
        ]
        print_table(HEADS, rows, (0, 3))
    return 0


def _expires(at: int | None, now: int) -> str:
    if at is None:
        return "never"
    return f"in {span(at - now)}" if at > now else "now"


COMMAND = Command(
    "leases ls",
    "List leases",
    run,
    options=(
        Option("-q --quiet", "print ids only"),
        Option("--filter", "such as id==x or labels.KEY; may be repeated", value="FILTER", many=True),
    ),
)
