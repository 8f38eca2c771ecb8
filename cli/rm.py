"""actr rm: remove containers and all that belongs to them."""

from __future__ import annotations

from cli.complaint import complain
from cli.each import for_each
from cli.options import Command, Given, Option
from cli.session import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

LIMIT = 120.0  # seconds


def run(session: Session, given: Given) -> int:
    """Remove each, print its name once nothing is left of it."""
    force = given.flag("force")

    def remove(name: str) -> str:
        try:
            remove_container(session, name, force=force)
        except RefusedError as error:
            if not (force and error.code == "not_found" and error.op == "containers.get"):
                raise
        return name

    return for_each(given.arguments, remove)


def remove_container(session: Session, name: str, *, force: bool) -> None:
    """Remove one. Raises RefusedError."""
    record = session.container(name)
    try:
        answer = session.ask(record["actor"], "containers.remove", {"force": force}, limit=LIMIT)
        for left in answer.get("left", ()):
            complain(left)
    except RefusedError as error:
        # An actor that is gone may have finished the removal first.
        if error.code != "not_found" or session.find_container(record["id"]):
            raise


COMMAND = Command(
    "rm",
    "Remove containers",
    run,
    arguments=("CONTAINER...",),
    options=(Option("-f --force", "kill what runs, and do not mind what does not exist"),),
)
