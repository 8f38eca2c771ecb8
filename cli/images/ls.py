"""actr images ls: the images."""

from __future__ import annotations

from cli.options import NAMES_ONLY, Command, Given
from cli.table import ago, familiar, print_listing, short

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

HEADS = ("IMAGE", "DIGEST", "UPDATED")


def run(session: Session, given: Given) -> int:
    """Print them by name."""
    found = session.ask_all("metadata", "images.list", {"namespace": session.namespace}, "images")
    print_listing(session, given, found, HEADS, row, (0,), (0,))
    return 0


def row(image: dict[str, Any], now: int) -> tuple[str, ...]:
    """One line of the table."""
    return (familiar(image["name"]), short(image["target"]["digest"]), ago(image["updated_at"], now))


COMMAND = Command("images ls", "List images", run, options=(NAMES_ONLY,))
