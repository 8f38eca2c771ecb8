"""actr node join: another node, by the connection file that `actr keys new` made there."""

from __future__ import annotations

from cli.options import Command, Given, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """See that it answers, then note it under its own name or another."""
    import contextlib
    from dataclasses import asdict

    from transport.client import Client
    from transport.connections import read_connection

    found = read_connection(given.arguments[0])
    with contextlib.closing(Client(session.address, node=found)) as far:
        name = given.text("name") or str(far.welcome["node"])
    session.ask("nodes", "nodes.join", {"name": name, "connection": asdict(found)})
    print(name)
    return 0


COMMAND = Command(
    "node join",
    "Learn how to reach a node",
    run,
    arguments=("FILE",),
    options=(Option("--name", "what to call it here (as it calls itself)", value="NAME"),),
)
