"""actr stop: end containers politely, and after a while not."""

from __future__ import annotations

from cli.each import for_each
from cli.options import Command, Given, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

GRACE = 10.0  # seconds
TIME = Option(
    "-t --time", "how long to wait before SIGKILL (the container's --stop-timeout: 10)", value="SECONDS"
)
MARGIN = 30.0  # seconds beyond the grace: for SIGKILL, and for an actor that dies meanwhile


def run(session: Session, given: Given) -> int:
    """Stop each, print its name once it has exited."""

    def stop(name: str) -> str:
        record = session.container(name)
        body, limit = grace_of(given, record)
        session.ask(record["actor"], "tasks.stop", body, limit=limit)
        return name

    return for_each(given.arguments, stop)


def grace_of(given: Given, record: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """The body that says how long to wait before SIGKILL, and how long the answer may take."""
    if given.flag("time"):
        grace = given.number("time", GRACE)
        return {"grace": grace}, grace + MARGIN
    return {}, float(record.get("options", {}).get("stop_timeout") or GRACE) + MARGIN


COMMAND = Command(
    "stop",
    "Stop containers: SIGTERM, and SIGKILL when that does not help",
    run,
    arguments=("CONTAINER...",),
    options=(TIME,),
)
