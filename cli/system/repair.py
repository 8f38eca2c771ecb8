"""actr system repair: put right what can be."""

from __future__ import annotations

from cli.options import Command, Given
from cli.system.check import LIMIT, SLOW, limit, print_problems
from cli.table import print_json, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print each action and what is left; the exit code says whether anything is."""
    found = session.ask("collector", "system.repair", {"limit": limit(given)}, limit=SLOW)
    if session.json:
        print_json(found)
    else:
        for one in found["actions"]:
            print(printable(f"{one['done']}: {one['what']}"))
        print_problems(found["problems"])
    return 1 if found["problems"] else 0


COMMAND = Command("system repair", "Check, and put right what can be", run, options=(LIMIT,))
