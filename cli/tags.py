"""actr tags: the tags of a repository, at its registry."""

from __future__ import annotations

from cli.options import Command, Given, Option
from cli.table import print_result
from cli.transfer import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print them in the registry's order, or remove one there."""
    if given.flag("delete"):
        done = ask(session, "delete", given.arguments[0])
        print_result(session, done, [done["digest"]])
        return 0
    found = ask(session, "tags", given.arguments[0])
    print_result(session, found, found["tags"])
    return 0


COMMAND = Command(
    "tags",
    "List the tags of a repository at its registry",
    run,
    arguments=("REPOSITORY",),
    options=(
        Option("--delete", "remove from the registry what REPOSITORY:TAG stands for, with all its tags"),
    ),
)
