"""actr wait: until containers have exited."""

from __future__ import annotations

from cli.each import for_each
from cli.following import journalled_exit
from cli.options import Command, Given
from cli.session import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

LIMIT = 3600.0  # seconds of one request; it is then made again


def run(session: Session, given: Given) -> int:
    """Print the exit code of each, `unknown` where nobody can know it."""

    def wait(name: str) -> str:
        code = wait_for(session, name).get("exit_code")
        return "unknown" if code is None else str(code)

    return for_each(given.arguments, wait)


def wait_for(session: Session, name: str) -> dict[str, Any]:
    """The exit of a container, also of one that removes itself. Raises RefusedError."""
    record = session.container(name)
    while True:
        try:
            return session.ask(record["actor"], "tasks.wait", {}, limit=LIMIT)
        except RefusedError as error:
            if error.code == "not_found" and session.find_container(record["id"]) is None:
                return journalled_exit(session, record["id"])
            if error.code != "deadline_exceeded":
                raise


COMMAND = Command(
    "wait", "Wait until containers have exited, and print their exit codes", run, arguments=("CONTAINER...",)
)
