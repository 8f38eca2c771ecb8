"""actr leases resources: what a lease holds."""

from __future__ import annotations

from cli.options import Command, Given
from cli.table import print_json, print_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

HEADS = ("TYPE", "ID")


def run(session: Session, given: Given) -> int:
    """Print each."""
    wish = {"namespace": session.namespace, "id": given.arguments[0]}
    found = session.ask("metadata", "leases.list_resources", wish)["resources"]
    if session.json:
        print_json(found)
    else:
        print_table(HEADS, [(one["type"], one["id"]) for one in found], (1,), naming=1)
    return 0


COMMAND = Command("leases resources", "List what a lease holds", run, arguments=("LEASE",))
