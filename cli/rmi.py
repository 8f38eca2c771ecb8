"""actr rmi: forget images."""

from __future__ import annotations

from cli.each import for_each
from cli.options import Command, Given, Option
from cli.session import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Remove each name, print it."""
    force = given.flag("force")

    def remove(name: str) -> str:
        body = {"namespace": session.namespace, "name": name, "force": force}
        return str(_delete(session, body).get("name", name))

    return for_each(given.arguments, remove)


def _delete(session: Session, body: dict[str, Any]) -> dict[str, Any]:
    """It must not happen twice, lest it delete what somebody has pulled anew; so after a crash we look."""
    try:
        return session.ask_once("metadata", "images.delete", body)
    except RefusedError as error:
        if error.error.outcome != "unknown" or not error.error.retryable:
            raise
        try:
            session.ask("metadata", "images.get", {"namespace": body["namespace"], "name": body["name"]})
        except RefusedError as gone:
            if gone.code == "not_found":
                return {}
        raise


COMMAND = Command(
    "rmi",
    "Remove images",
    run,
    arguments=("IMAGE...",),
    options=(Option("-f --force", "remove also those that a container uses"),),
)
