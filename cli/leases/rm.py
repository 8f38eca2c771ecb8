"""actr leases rm: delete leases."""

from __future__ import annotations

from cli.each import for_each
from cli.options import Command, Given, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

SLOW = 600.0  # seconds for a collection


def run(session: Session, given: Given) -> int:
    """Delete each, print it."""
    sync = given.flag("sync")

    def delete(identity: str) -> str:
        wish = {"namespace": session.namespace, "id": identity, "sync": sync}
        session.ask("metadata", "leases.delete", wish, limit=SLOW)
        return identity

    return for_each(given.arguments, delete)


COMMAND = Command(
    "leases rm",
    "Remove leases",
    run,
    arguments=("LEASE...",),
    options=(Option("--sync", "wait until what they held is gone too"),),
)
