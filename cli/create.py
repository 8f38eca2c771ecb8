"""actr create: record a container without starting it."""

from __future__ import annotations

from cli.creating import OPTIONS, create, request_body, unknown_container
from cli.options import Command, Given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Create it and print its id."""
    body = request_body(session, given, "stopped")
    with unknown_container(session, body):
        made = create(session, given, body)
    print(made["id"])
    return 0


COMMAND = Command(
    "create",
    "Create a container without starting it",
    run,
    arguments=("[IMAGE]", "[COMMAND...]"),
    options=OPTIONS,
    literal=True,
)
