"""actr pause: make containers stand still."""

from __future__ import annotations

from cli.each import for_each
from cli.options import Command, Given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Pause each, print its name."""
    return each(session, given, "tasks.pause")


def each(session: Session, given: Given, op: str) -> int:
    """Ask it of each container's actor, print its name."""

    def ask(name: str) -> str:
        session.ask(session.container(name)["actor"], op, {})
        return name

    return for_each(given.arguments, ask)


COMMAND = Command("pause", "Freeze every process of containers", run, arguments=("CONTAINER...",))
