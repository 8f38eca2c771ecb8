"""actr checkpoint: write the state of a container's processes to a directory."""

from __future__ import annotations

import os

from cli.options import Command, Given, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

LIMIT = 600.0  # seconds


def run(session: Session, given: Given) -> int:
    """Print the directory."""
    name, directory = given.arguments
    path = os.path.abspath(directory)  # noqa: PTH100  # pathlib is 4 ms
    body = {"path": path, "leave_running": given.flag("leave-running")}
    session.ask(session.container(name)["actor"], "tasks.checkpoint", body, limit=LIMIT)
    print(path)
    return 0


COMMAND = Command(
    "checkpoint",
    "Write the state of a container's processes to a directory",
    run,
    arguments=("CONTAINER", "DIRECTORY"),
    options=(Option("--leave-running", "let it go on afterwards; without this, it is stopped"),),
)
