"""actr run: create a container, start it, and be its terminal until it exits.

What is needed after the request is loaded after it, while the daemon is at work: 10 ms that nobody waits for.
"""

from __future__ import annotations

from cli.complaint import complain
from cli.creating import OPTIONS, create, request_body, unknown_container
from cli.options import Command, Given, Option
from cli.session import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """The exit code is the container's; that of a container left behind says which signal made us leave."""
    if given.flag("dry-run"):
        from cli.spec import print_spec

        return print_spec(session, given)
    return _detached(session, given) if given.flag("detach") else _foreground(session, given)


def _detached(session: Session, given: Given) -> int:
    """Created and started in two steps, since only a start that we asked for tells us how it went."""
    body = request_body(session, given, "stopped")
    with unknown_container(session, body):
        made = create(session, given, body)
        from cli.start import start_once

        try:
            start_once(session, made["actor"], run=1)
        except RefusedError as error:
            _tidy_up(session, error, made, body)
            raise
    print(made["id"])
    return 0


def _foreground(session: Session, given: Given) -> int:
    body = request_body(session, given, "running")
    with unknown_container(session, body) as unknown:
        made = create(session, given, body)
        from cli.attach import attach
        from cli.following import Output

        record = {**made, "name": made.get("name") or made["id"][:12], "options": body["options"]}
        try:
            # Its terminal was made with the size of ours.
            return attach(
                session, given, record, Output(session, made["actor"]), fit=False, begun=unknown.told
            )
        except RefusedError as error:
            _tidy_up(session, error, made, body)
            raise


def _tidy_up(session: Session, error: RefusedError, made: dict[str, Any], body: dict[str, Any]) -> None:
    """A container that could not be started is of no use to anybody; one that removes itself does so."""
    if "exit_code" not in error.error.details or body["auto_remove"]:
        return
    try:
        session.ask(made["actor"], "containers.remove", {"force": True})
    except RefusedError as left:
        if left.code != "not_found":  # it went, and only the answer was lost
            complain(f"{made['id'][:12]} is left behind: {left}")


COMMAND = Command(
    "run",
    "Create a container and run it",
    run,
    arguments=("[IMAGE]", "[COMMAND...]"),
    options=(
        Option("-d --detach", "leave it running, and print its id"),
        Option("--dry-run", "check everything, print what would be run (as actr spec), run nothing"),
        *OPTIONS,
    ),
    literal=True,
)
