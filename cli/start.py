"""actr start: start containers that were created, or have exited."""

from __future__ import annotations

from cli.each import for_each
from cli.options import Command, Given
from cli.session import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

LIMIT = 120.0  # seconds


def run(session: Session, given: Given) -> int:
    """Start each and print its name."""

    def start(name: str) -> str:
        start_once(session, session.container(name)["actor"])
        return name

    return for_each(given.arguments, start)


def start_once(session: Session, actor: str, run: int = 0) -> None:
    """Start it, but not twice: who comes again after an answer of unknown outcome names the same run.

    `run` is known of a container that was only just created, else looked up.

    Raises:
        RefusedError: it could not be started; the details may hold an exit code.
    """
    wanted = run or _next_run(session, actor)
    try:
        session.ask(actor, "tasks.start", {"run": wanted}, limit=LIMIT)
    except RefusedError as error:
        if error.code != "not_found" or _is_on_record(session, actor):
            raise  # else it ran, exited and removed itself


def _next_run(session: Session, actor: str) -> int:
    state = session.ask(actor, "tasks.state", {})
    under_way = state["phase"] in ("preparing", "starting", "running")
    return int(state["run"]) + (0 if under_way else 1)


def _is_on_record(session: Session, actor: str) -> bool:
    try:
        session.container(actor.rpartition("/")[2])
    except RefusedError as error:
        if error.code == "not_found":
            return False
        raise
    return True


COMMAND = Command("start", "Start containers", run, arguments=("CONTAINER...",))
