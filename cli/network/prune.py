"""actr network prune: remove what is not used."""

from __future__ import annotations

from cli.options import Command, Given
from cli.table import print_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Remove them, and print their names."""
    del given
    found = session.ask("network", "network.prune", {})["removed"]
    print_result(session, found, found)
    return 0


COMMAND = Command("network prune", "Remove all networks that nobody is on, but the default one", run)
