"""actr content ls: the blobs that a namespace knows."""

from __future__ import annotations

from cli.options import Command, Given, Option
from cli.table import ago, print_listing, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

HEADS = ("DIGEST", "SIZE", "CREATED", "LABELS")


def run(session: Session, given: Given) -> int:
    """Print them by digest."""
    wish = {"namespace": session.namespace, "filters": given.many("filter")}
    found = session.ask_all("content", "content.list", wish, "blobs")
    print_listing(session, given, found, HEADS, row, (0, 3), key="digest")
    return 0


def row(blob: dict[str, Any], now: int) -> tuple[str, ...]:
    """One line of the table."""
    labels = ",".join(f"{key}={value}" for key, value in sorted(blob["labels"].items()))
    return (blob["digest"], size(blob["size"]), ago(blob["created_at"], now), labels)


FILTER = Option(
    "--filter",
    "only what this holds for, such as size==10 or labels.KEY~=|^x| (all)",
    value="FILTER",
    many=True,
)
COMMAND = Command(
    "content ls",
    "List the blobs that the namespace knows",
    run,
    options=(Option("-q --quiet", "print digests only"), FILTER),
)
