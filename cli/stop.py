"""actr stop: end containers politely, and after a while not."""

from __future__ import annotations

from cli.each import for_each
from cli.options import Command, Given, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

GRACE = 10.0  # seconds
MARGIN = 30.0  # seconds beyond the grace: for SIGKILL, and for an actor that dies meanwhile


def run(session: Session, given: Given) -> int:
    """Stop each, print its name once it has exited."""
    grace = given.number("time", GRACE)

    def stop(name: str) -> str:
        actor = session.container(name)["actor"]
        session.ask(actor, "tasks.stop", {"grace": grace}, limit=grace + MARGIN)
        return name

    return for_each(given.arguments, stop)


COMMAND = Command(
    "stop",
    "Stop containers: SIGTERM, and SIGKILL when that does not help",
    run,
    arguments=("CONTAINER...",),
    options=(Option("-t --time", "seconds before SIGKILL (10)", value="SECONDS"),),
)
