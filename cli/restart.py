"""actr restart: stop containers and start them anew."""

from __future__ import annotations

from cli.each import for_each
from cli.options import Command, Given
from cli.stop import TIME, grace_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

START_LIMIT = 120.0  # seconds


def run(session: Session, given: Given) -> int:
    """Restart each, print its name once it runs again."""

    def restart(name: str) -> str:
        record = session.container(name)
        body, limit = grace_of(given, record)
        # Numbered, so that asking again after a crash does not restart it twice.
        after = session.ask(record["actor"], "tasks.state", {})["run"]
        session.ask(record["actor"], "tasks.restart", {**body, "run": after + 1}, limit=limit + START_LIMIT)
        return name

    return for_each(given.arguments, restart)


COMMAND = Command(
    "restart",
    "Stop containers and start them anew",
    run,
    arguments=("CONTAINER...",),
    options=(TIME,),
)
