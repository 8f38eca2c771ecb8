"""actr content ls: the blobs that a namespace knows."""

from __future__ import annotations

import time

from cli.options import Command, Given, Option
from cli.table import ago, print_json, print_table, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

HEADS = ("DIGEST", "SIZE", "CREATED", "LABELS")


def run(session: Session, given: Given) -> int:
    """Print them by digest."""
    wish = {"namespace": session.namespace, "filters": given.many("filter")}
    found = session.ask("content", "content.list", wish)["blobs"]
    if given.flag("quiet"):
        for one in found:
            print(one["digest"])
    elif session.json:
        print_json(found)
    else:
        now = time.time_ns()
        rows = [
            (
                one["digest"],
                size(one["size"]),
                ago(one["created_at"], now),
                ",".join(f"{key}={value}" for key, value in sorted(one["labels"].items())),
            )
            for one in found
        ]
        print_table(HEADS, rows, (0, 3))
    return 0


FILTER = Option(
    "--filter", "such as size==10 or labels.KEY~=|^x|; may be repeated", value="FILTER", many=True
)
COMMAND = Command(
    "content ls",
    "List the blobs that the namespace knows",
    run,
    options=(Option("-q --quiet", "print digests only"), FILTER),
)
