"""actr keys ls: who may come in."""

from __future__ import annotations

from cli.options import NAMES_ONLY, Command, Given
from cli.table import ago, print_listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

HEADS = ("KEY", "ROLE", "CREATED", "PUBLIC")


def run(session: Session, given: Given) -> int:
    """Print them by name."""
    found = session.ask("metadata", "keys.list", {})["keys"]
    print_listing(session, given, found, HEADS, row, (0, 3))
    return 0


def row(key: dict[str, Any], now: int) -> tuple[str, ...]:
    """One line of the table."""
    return (key["name"], key["role"], ago(key["created_at"], now), key["public"])


COMMAND = Command("keys ls", "List the keys that are let in", run, options=(NAMES_ONLY,))
