"""actr info: what the daemon works with."""

from __future__ import annotations

from cli.options import Command, Given
from cli.table import print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print every field that it gives."""
    del given
    found = session.ask("supervisor", "introspection.info", {})
    if session.json:
        print_json(found)
        return 0
    width = max(map(len, found), default=0)
    for key, value in found.items():
        print(f"{key:<{width}}  {value}")
    return 0


COMMAND = Command("info", "Show what the daemon works with", run)
