"""actr node leave: forget a node; nothing changes on it."""

from __future__ import annotations

from cli.each import for_each
from cli.options import Command, Given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Forget each and print its name."""

    def leave(name: str) -> str:
        session.ask_once("nodes", "nodes.leave", {"name": name})
        return name

    return for_each(given.arguments, leave)


COMMAND = Command("node leave", "Forget nodes", run, arguments=("NODE...",))
