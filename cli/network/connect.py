"""actr network connect: one more interface for a running container."""

from __future__ import annotations

from cli.networking import connection
from cli.options import Command, Given
from cli.table import print_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Connect it, and print its addresses."""
    wish = connection(given.arguments[0], [])
    container = session.container(given.arguments[1])
    body = {
        "namespace": session.namespace,
        "id": container["id"],
        "name": container["name"],
        "network": wish.pop("network"),
        "wish": wish,
    }
    found = session.ask("network", "network.connect", body)
    print_result(session, found, [" ".join(found["addresses"])])
    return 0


COMMAND = Command(
    "network connect",
    "Put a running container on a network",
    run,
    arguments=("NETWORK[,K=V]", "CONTAINER"),
)
