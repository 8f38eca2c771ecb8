"""actr volume inspect: everything about volumes, as JSON."""

from __future__ import annotations

from cli.options import Command, Given
from cli.table import print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print a list."""
    print_json(
        [
            session.ask("volumes", "volumes.get", {"namespace": session.namespace, "name": name})
            for name in given.arguments
        ]
    )
    return 0


COMMAND = Command("volume inspect", "Show everything about volumes, as JSON", run, arguments=("VOLUME...",))
