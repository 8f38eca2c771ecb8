"""actr restore: start a container from a checkpoint."""

from __future__ import annotations

import os

from cli.options import Command, Given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

LIMIT = 600.0  # seconds


def run(session: Session, given: Given) -> int:
    """Print its name."""
    name, directory = given.arguments
    body = {"path": os.path.abspath(directory)}  # noqa: PTH100  # pathlib is 4 ms
    session.ask(session.container(name)["actor"], "tasks.restore", body, limit=LIMIT)
    print(name)
    return 0


COMMAND = Command(
    "restore",
    "Start a container from a checkpoint",
    run,
    arguments=("CONTAINER", "DIRECTORY"),
)
