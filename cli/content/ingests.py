"""actr content ingests: what is on its way in."""

from __future__ import annotations

from cli.options import Command, Given, Option
from cli.table import ago, print_listing, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

HEADS = ("REF", "OFFSET", "TOTAL", "LEASED", "UPDATED")


def run(session: Session, given: Given) -> int:
    """Print them."""
    wish = {"namespace": session.namespace, "filters": given.many("filter")}
    found = session.ask("content", "content.statuses", wish)["ingests"]
    print_listing(session, given, found, HEADS, _row, (0,), key="ref")
    return 0


def _row(one: dict[str, Any], now: int) -> tuple[str, ...]:
    return (
        one["ref"],
        size(one["offset"]),
        size(one["total"]) if one["total"] else "",
        "yes" if one["leased"] else "no",
        ago(one["updated_at"], now),
    )


COMMAND = Command(
    "content ingests",
    "List what is on its way in",
    run,
    options=(
        Option("-q --quiet", "print refs only"),
        Option(
            "--filter", "only what this holds for, such as ref~=|^layer-| (all)", value="FILTER", many=True
        ),
    ),
)
