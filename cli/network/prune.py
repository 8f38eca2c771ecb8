"""actr network prune: remove what is not used."""

from __future__ import annotations

from cli.complaint import complain
from cli.options import Command, Given
from cli.table import print_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

LIMIT = 120.0  # seconds: plugins that have refused are asked once more


def run(session: Session, given: Given) -> int:
    """Remove them, and print their names."""
    del given
    answer = session.ask("network", "network.prune", {}, limit=LIMIT)
    for left in answer.get("left", ()):
        complain(left)
    found = answer["removed"]
    print_result(session, found, found)
    return 0


COMMAND = Command("network prune", "Remove all networks that nobody is on, but the default one", run)
