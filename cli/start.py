"""actr start: start containers that were created, or have exited."""

from __future__ import annotations

from cli.each import for_each
from cli.following import Output
from cli.options import Command, Given, Option, UsageError
from cli.session import RefusedError
from cli.streams import KEYS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

LIMIT = 120.0  # seconds


def run(session: Session, given: Given) -> int:
    """Start each and print its name; with -a, be the terminal of one until it exits."""
    if given.flag("attach"):
        return _attached(session, given)

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
        if error.code != "not_found" or session.find_container(actor.rpartition("/")[2]):
            raise  # else it ran, exited and removed itself


def _next_run(session: Session, actor: str) -> int:
    state = session.ask(actor, "tasks.state", {})
    under_way = state["phase"] in ("preparing", "starting", "running")
    return int(state["run"]) + (0 if under_way else 1)


def _attached(session: Session, given: Given) -> int:
    from cli.attach import attach

    if len(given.arguments) > 1:
        raise UsageError("-a wants one container")
    record = session.container(given.arguments[0])
    before = Output(session, record["actor"], recent=0)  # what earlier runs have written is not repeated
    before.copy(lambda *_: None, follow=False)
    start_once(session, record["actor"])
    return attach(session, given, record, before)


COMMAND = Command(
    "start",
    "Start containers",
    run,
    arguments=("CONTAINER...",),
    options=(
        Option("-a --attach", "be the terminal of it (of one container), and end with its exit code"),
        KEYS,
    ),
)
