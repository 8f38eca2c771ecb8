"""actr network rm: remove networks."""

from __future__ import annotations

from cli.each import for_each
from cli.options import Command, Given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Remove each, and print its name."""

    def remove(name: str) -> str:
        session.ask("network", "network.remove", {"name": name})
        return name

    return for_each(given.arguments, remove)


COMMAND = Command("network rm", "Remove networks that nobody is on", run, arguments=("NETWORK...",))
