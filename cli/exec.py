"""actr exec: a further process in a running container."""

from __future__ import annotations

from cli.attaching import attached, keys
from cli.complaint import complain
from cli.creating import ENV_FILE, ENVIRONMENT, Unknown, environment
from cli.following import Output, OutputError, own_exit_code, write_or_leave
from cli.forwarding import DetachedError
from cli.options import Command, Given, Option
from cli.session import RefusedError
from cli.streams import STREAMS, wanted
from transport.bare import random_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

FAILED = 1
LIMIT = 60.0  # seconds for it to start
SIGKILL = 9  # of which the module signal would make an enum first


def run(session: Session, given: Given) -> int:
    """The exit code is that of the process."""
    name, *args = given.arguments
    record = session.container(name)
    exec_id = random_id(8).hex()  # asked for again after a crash, it is not run again
    body = {"exec_id": exec_id, "args": args, "env": environment(given)}
    body |= {"cwd": given.text("workdir"), "user": given.text("user")}
    body |= _streams(given)
    try:
        with Unknown(session, lambda other: _take_back(other, record["actor"], body)) as unknown:
            session.ask(record["actor"], "tasks.exec", body, limit=LIMIT)
            if not given.flag("detach"):
                return _foreground(session, given, record, exec_id, unknown)
        print(exec_id)
    except RefusedError as error:
        raise RefusedError(error.error, error.op, {**error.body, "name": name}) from error
    return 0


def _take_back(session: Session, actor: str, body: dict[str, Any]) -> None:
    """End it, once it has started: then it can be, and the answer to the same request says so."""
    from transport.client import NotRunningError

    exec_id = body["exec_id"]
    try:
        if exec_id in session.ask(actor, "tasks.state", {})["execs"]:
            session.ask(actor, "tasks.exec", body, limit=LIMIT)
            session.ask_once(actor, "tasks.kill", {"signal": SIGKILL, "exec_id": exec_id})
    except (RefusedError, NotRunningError) as error:
        if not isinstance(error, RefusedError) or error.code not in ("not_found", "failed_precondition"):
            complain(f"process {exec_id} may be left behind: {error}")  # else it had ended, or never began


def _streams(given: Given) -> dict[str, Any]:
    """Raises UsageError."""
    found = wanted(given, attached=not given.flag("detach"))
    rows, columns = found.pop("console_size", (0, 0))
    return {**found, "rows": rows, "columns": columns}


def _foreground(
    session: Session, given: Given, record: dict[str, Any], exec_id: str, unknown: Unknown
) -> int:
    name = str(record["name"])

    def body() -> dict[str, Any]:
        unknown.told()
        return output.copy(write_or_leave, follow=True)

    try:
        terminal, typing = given.flag("tty"), keys(given) if given.flag("interactive") else None
        output = Output(session, record["actor"], exec_id)
        answer = attached(
            body,
            session,
            record["actor"],
            name,
            exec_id,
            terminal=terminal,
            typing=typing,
        )
    except DetachedError as error:
        complain(f"detached; the process in {name} goes on")
        return error.exit_code
    except OutputError as error:
        complain(f"{error}; the process in {name} goes on")
        return FAILED
    _let_go(session, record["actor"], exec_id)
    return own_exit_code(answer, f"the process in {name}")


def _let_go(session: Session, actor: str, exec_id: str) -> None:
    """The actor forgets it by itself in a while, so a refusal is no failure of ours."""
    try:
        session.ask(actor, "tasks.exec_delete", {"exec_id": exec_id}, limit=5.0)
    except RefusedError:
        return


COMMAND = Command(
    "exec",
    "Run a further process in a running container",
    run,
    arguments=("CONTAINER", "COMMAND..."),
    options=(
        Option("-d --detach", "leave it running, and print the id that actr events has for it"),
        *STREAMS,
        ENVIRONMENT,
        ENV_FILE,
        Option("-w --workdir", "directory in the container to start in (the container's)", value="DIR"),
        Option("-u --user", "user: name or id, or either with :GROUP (the container's)", value="USER"),
    ),
    literal=True,
)
