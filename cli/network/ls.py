"""actr network ls: the networks."""

from __future__ import annotations

from cli.options import NAMES_ONLY, Command, Given
from cli.table import print_listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

HEADS = ("NETWORK", "KIND", "SUBNETS", "INTERFACE", "CONTAINERS")


def run(session: Session, given: Given) -> int:
    """Print them by name."""
    found = session.ask("network", "network.list", {})["networks"]
    print_listing(session, given, found, HEADS, row, (2,))
    return 0


def row(network: dict[str, Any], _now: int) -> tuple[str, ...]:
    """One line of the table."""
    kind = network["kind"] + (", internal" if network["internal"] else "")
    subnets = " ".join(network["subnets"])
    return (network["name"], kind, subnets, network["interface"], str(network["endpoints"]))


COMMAND = Command("network ls", "List networks", run, options=(NAMES_ONLY,))
