"""actr search: the repositories of a registry that has a catalogue."""

from __future__ import annotations

from cli.options import Command, Given
from cli.table import print_result
from cli.transfer import ask, logins_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print the repositories whose name has TERM in it, each as it would be pulled."""
    host, _, more = given.arguments[0].partition("/")
    term = given.arguments[1] if len(given.arguments) > 1 else more
    found = ask(session, "catalogue", host, logins=logins_for(f"{host}/any"))
    names = [f"{host}/{name}" for name in found["repositories"] if term in name]
    print_result(session, names, names)
    return 0 if names else 1


COMMAND = Command(
    "search",
    "List the repositories of a registry, where it has a catalogue",
    run,
    arguments=("HOST", "[TERM]"),
)
