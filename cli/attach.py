"""actr attach: be (one more) terminal of a container that runs."""

from __future__ import annotations

from cli.attaching import attached, keys
from cli.complaint import complain
from cli.following import Output, OutputError, follow_container, own_exit_code, write_or_leave
from cli.forwarding import DetachedError
from cli.limits import whole
from cli.options import Command, Given, Option
from cli.streams import KEYS

FAILED = 1
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """The exit code is the container's; 0 when the keys detached."""
    record = session.container(given.arguments[0])
    recent = whole("replay", given.text("replay", "0"))
    if _is_unstarted(session, record):
        name = record["name"]
        complain(f"container {name} has not been started: start it first, or at once: actr start -a {name}")
        return FAILED
    return attach(session, given, record, Output(session, record["actor"], recent=recent))


def _is_unstarted(session: Session, record: dict[str, Any]) -> bool:
    """Whether no run of it has begun, for whose end we would wait for ever.

    What is on record may lag behind a start; its actor knows.
    """
    if (record.get("task") or {"status": "created"})["status"] != "created":
        return False
    state = session.ask(record["actor"], "tasks.state", {})
    return bool(state["phase"] == "created" and not state.get("error"))


def attach(
    session: Session,
    given: Given,
    record: dict[str, Any],
    output: Output,
    *,
    fit: bool = True,
    begun: Callable[[], None] = lambda: None,
) -> int:
    """Until it has exited or we detach; `output` says from where on. Returns the exit code.

    `fit` gives its terminal the size of ours first. `begun` is called once our signals are its own.

    Raises:
        RefusedError: it could not be started, or the way to it is blocked.
        UsageError: it needs a terminal that we do not have.
    """
    name, options = str(record["name"]), record.get("options") or {}
    terminal = bool(options.get("terminal"))
    typing = keys(given) if options.get("stdin") and not given.flag("no-stdin") else None
    if terminal and typing is not None:
        from cli.terminal import refuse_without_terminal

        refuse_without_terminal()

    def body() -> dict[str, Any]:
        begun()
        return follow_container(session, record["id"], write_or_leave, output)

    try:
        answer = attached(
            body,
            session,
            record["actor"],
            name,
            terminal=terminal,
            typing=typing,
            fit=fit,
        )
    except DetachedError as error:
        complain(f"detached; {name} goes on: actr attach {name}, actr stop {name}")
        return error.exit_code
    except OutputError as error:
        complain(f"{error}; {name} goes on: actr attach {name}, actr stop {name}")
        return FAILED
    return own_exit_code(answer, name)


COMMAND = Command(
    "attach",
    "Be the terminal of a container: see its output, and type",
    run,
    arguments=("CONTAINER",),
    options=(
        Option("--no-stdin", "watch only, and type nothing"),
        Option("--replay", "begin with so many bytes of the output that has been (0)", value="BYTES"),
        KEYS,
    ),
)
