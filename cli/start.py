"""actr start: start containers that were created, or have exited."""

from __future__ import annotations

from cli.each import for_each
from cli.options import Command, Given
from cli.session import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

LIMIT = 120.0  # seconds
ATTEMPTS = 5  # times that the actor may die meanwhile


def run(session: Session, given: Given) -> int:
    """Start each and print its name."""

    def start(name: str) -> str:
        start_once(session, session.container(name)["actor"])
        return name

    return for_each(given.arguments, start)


def start_once(session: Session, actor: str) -> None:
    """Start it, but not twice: after an answer of unknown outcome, its state says what has happened.

    Raises:
        RefusedError: it could not be started; the details may hold an exit code.
    """
    for left in reversed(range(ATTEMPTS)):
        try:
            session.ask_once(actor, "tasks.start", {}, limit=LIMIT)
        except RefusedError as error:
            if not left or error.error.outcome != "unknown" or not error.error.retryable:
                raise
        else:
            return
        if _has_started(session, actor):
            return


def _has_started(session: Session, actor: str) -> bool:
    """Whether a start was done; one that failed, or is on its way, is asked for again to hear of its end."""
    try:
        state = session.ask(actor, "tasks.state", {})
    except RefusedError as error:
        if error.code == "not_found":  # it ran, exited and removed itself
            return True
        raise
    return state.get("phase") not in ("created", "preparing", "starting")


COMMAND = Command("start", "Start containers", run, arguments=("CONTAINER...",))
