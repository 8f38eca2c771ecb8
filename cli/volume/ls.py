"""actr volume ls: the volumes."""

from __future__ import annotations

from cli.options import NAMES_ONLY, Command, Given
from cli.table import ago, print_listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

HEADS = ("VOLUME", "USED BY", "CREATED")


def run(session: Session, given: Given) -> int:
    """Print them by name."""
    found = session.ask_all("volumes", "volumes.list", {"namespace": session.namespace}, "volumes")
    print_listing(session, given, found, HEADS, row, (0, 1))
    return 0


def row(volume: dict[str, Any], now: int) -> tuple[str, ...]:
    """One line of the table."""
    return (volume["name"], ", ".join(volume["used_by"]), ago(volume["created_at"], now))


COMMAND = Command("volume ls", "List volumes", run, options=(NAMES_ONLY,))
