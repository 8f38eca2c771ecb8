"""actr diff: which files a container has changed."""

from __future__ import annotations

import json
import os

from cli.jobs import do, lend
from cli.options import Command, Given
from cli.table import print_result, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print kind (A added, C changed, D deleted) and path of each."""
    with open(os.memfd_create("changes"), "w+b") as lines:  # noqa: PTH123  # it has no path
        do(session, "diff", {"container": given.arguments[0], "target": lend(lines.fileno())}, quiet=True)
        lines.seek(0)
        changes = [json.loads(line) for line in lines]
    found = [{"kind": kind, "path": path} for kind, path in changes]
    print_result(session, found, (f"{kind} {printable(path)}" for kind, path in changes))
    return 0


COMMAND = Command("diff", "List the files that a container has changed", run, arguments=("CONTAINER",))
