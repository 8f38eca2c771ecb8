"""actr system backup: copies of the databases."""

from __future__ import annotations

import os

from cli.options import Command, Given
from cli.table import print_json, print_table, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

HEADS = ("FILE", "SIZE")
SLOW = 600.0  # seconds


def run(session: Session, given: Given) -> int:
    """Print each file."""
    directory = os.path.abspath(given.arguments[0])  # noqa: PTH100  # pathlib is 4 ms
    found = session.ask_once("collector", "system.backup", {"directory": directory}, limit=SLOW)
    if session.json:
        print_json(found)
    else:
        print_table(HEADS, [(one["name"], size(one["size"])) for one in found["files"]])
    return 0


COMMAND = Command("system backup", "Copy the databases into a new directory", run, arguments=("DIRECTORY",))
