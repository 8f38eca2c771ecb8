"""actr leases ls: the leases of a namespace."""

from __future__ import annotations

from cli.options import Command, Given, Option
from cli.table import ago, print_listing, span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

HEADS = ("LEASE", "CREATED", "EXPIRES", "HOLDER")


def run(session: Session, given: Given) -> int:
    """Print them by id."""
    wish = {"namespace": session.namespace, "filters": given.many("filter")}
    found = session.ask_all("metadata", "leases.list", wish, "leases")
    print_listing(session, given, found, HEADS, row, (0, 3), key="id")
    return 0


def row(lease: dict[str, Any], now: int) -> tuple[str, ...]:
    """One line of the table."""
    return (lease["id"], ago(lease["created_at"], now), _expires(lease["expires_at"], now), lease["holder"])


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
        Option(
            "--filter",
            "only what this holds for, such as id==x or labels.KEY (all)",
            value="FILTER",
            many=True,
        ),
    ),
)
