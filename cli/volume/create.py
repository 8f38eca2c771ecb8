"""actr volume create: make a volume; one that is there already is no error."""

from __future__ import annotations

import os

from cli.options import LABEL, Command, Given
from cli.table import print_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print its name, one that is made up if none was given."""
    name = given.arguments[0] if given.arguments else os.urandom(16).hex()
    body = {"namespace": session.namespace, "name": name, "labels": given.pairs("label")}
    found = session.ask("volumes", "volumes.create", body)
    print_result(session, found, [found["name"]])
    return 0


COMMAND = Command(
    "volume create",
    "Make a volume",
    run,
    arguments=("[NAME]",),
    options=(LABEL,),
)
