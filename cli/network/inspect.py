"""actr network inspect: everything about networks."""

from __future__ import annotations

from cli.options import Command, Given
from cli.table import print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print them as JSON, with who is on them."""
    print_json([session.ask("network", "network.get", {"name": name}) for name in given.arguments])
    return 0


COMMAND = Command(
    "network inspect", "Show everything about networks, as JSON", run, arguments=("NETWORK...",)
)
