"""actr unpause: let paused containers go on."""

from __future__ import annotations

from cli.options import Command, Given
from cli.pause import each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Resume each, print its name."""
    return each(session, given, "tasks.resume")


COMMAND = Command("unpause", "Let paused containers go on", run, arguments=("CONTAINER...",))
