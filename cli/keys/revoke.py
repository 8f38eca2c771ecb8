"""actr keys revoke: no more of this key, at once."""

from __future__ import annotations

from cli.each import for_each
from cli.options import Command, Given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Revoke each and print its name."""

    def revoke(name: str) -> str:
        session.ask_once("metadata", "keys.revoke", {"name": name})
        return name

    return for_each(given.arguments, revoke)


COMMAND = Command("keys revoke", "Let the holder of a key in no more", run, arguments=("KEY...",))
