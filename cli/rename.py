"""actr rename: give a container another name."""

from __future__ import annotations

from cli.options import Command, Given, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print the new name."""
    name, new = given.arguments
    if not new:
        raise UsageError("rename: NEW is empty")
    print(session.ask(session.container(name)["actor"], "containers.rename", {"name": new})["name"])
    return 0


COMMAND = Command("rename", "Give a container another name", run, arguments=("CONTAINER", "NEW"))
