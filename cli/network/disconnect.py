"""actr network disconnect: take a running container off a network."""

from __future__ import annotations

from cli.options import Command, Given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Disconnect it."""
    name, container = given.arguments
    body = {"namespace": session.namespace, "id": session.container(container)["id"], "network": name}
    session.ask("network", "network.disconnect", body)
    return 0


COMMAND = Command(
    "network disconnect", "Take a running container off a network", run, arguments=("NETWORK", "CONTAINER")
)
