"""Creating a container of the load, whatever dies meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from chaos.asking import persist
from cli.session import RefusedError

if TYPE_CHECKING:
    from chaos.asking import RecordingSession
    from chaos.runs import Run

ATTEMPTS: Final = 5  # times that whoever creates a container may die meanwhile


def create(
    session: RecordingSession,
    image: str,
    run: Run,
    options: dict[str, Any],
    wanted: str,
    *,
    leaves: bool = False,
) -> None:
    """Create a container whose id is ours, so that a request of unknown outcome can be looked up."""
    body = {
        "namespace": "c",
        "image": image,
        "id": run.id,
        "name": run.name,
        "options": options,
        "wanted": wanted,
        "auto_remove": leaves,
    }
    wish = {"namespace": "c", "id": run.id, "retired": True}

    def attempt() -> None:
        try:
            session.ask_once("metadata", "containers.create", body)
        except RefusedError as error:
            if error.error.outcome != "unknown" and error.code != "already_exists":
                raise
            record = session.ask("metadata", "containers.get", wish)
            args = {"namespace": "c", "id": run.id, "created_at": record["created_at"]}
            start = {"kind": "container", "name": run.actor, "args": args}
            session.ask("supervisor", "children.start", start)

    def until_done() -> None:
        for left in reversed(range(ATTEMPTS)):
            try:
                attempt()
            except RefusedError as error:
                if error.op != "containers.get" or error.code != "not_found" or not left:
                    raise  # else it had not been done
            else:
                return

    persist(until_done)
    run.created = True
    run.started = wanted == "running"
