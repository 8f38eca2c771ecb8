"""actr leases add: have a lease hold something."""

from __future__ import annotations

from cli.options import Command, Given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Hold it, whether it exists yet or not."""
    lease, kind, identity = given.arguments
    wish = {
        "namespace": session.namespace,
        "id": lease,
        "resources": [{"type": kind, "id": identity}],
    }
    session.ask("metadata", "leases.add_resource", wish)
    return 0


COMMAND = Command(
    "leases add",
    "Have a lease hold something",
    run,
    arguments=("LEASE", "TYPE", "ID"),
)
