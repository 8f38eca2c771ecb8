"""actr volume rm: remove volumes."""

from __future__ import annotations

from cli.each import for_each
from cli.options import Command, Given, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Remove each and print its name."""

    def remove(name: str) -> str:
        body = {"namespace": session.namespace, "name": name}
        if not given.flag("force"):
            session.ask("volumes", "volumes.get", body)  # else one that is misspelt would count as removed
        session.ask("volumes", "volumes.remove", body, limit=300.0)
        return name

    return for_each(given.arguments, remove)


COMMAND = Command(
    "volume rm",
    "Remove volumes",
    run,
    arguments=("VOLUME...",),
    options=(Option("-f --force", "do not mind what does not exist"),),
)
