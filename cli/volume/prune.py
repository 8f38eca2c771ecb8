"""actr volume prune: remove every volume that no container mounts."""

from __future__ import annotations

from cli.options import Command, Given
from cli.table import print_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, _given: Given) -> int:
    """Print the names of those that were removed."""
    body = {"namespace": session.namespace}
    found = session.ask("volumes", "volumes.prune", body, limit=300.0)["removed"]
    print_result(session, found, found)
    return 0


COMMAND = Command("volume prune", "Remove every volume that no container mounts", run)
