"""actr spec: what the runtime would be given, of a container or of what `run` would make."""

from __future__ import annotations

from cli.creating import OPTIONS, digest_of, request_body
from cli.options import Command, Given
from cli.session import RefusedError
from cli.table import print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

LIMIT = 120.0  # seconds


def run(session: Session, given: Given) -> int:
    """Of the container of that name if it is the only argument and there is one, else of the image."""
    if len(given.arguments) == 1:
        try:
            record = session.container(given.arguments[0])
        except RefusedError as error:
            if error.code not in ("not_found", "invalid_argument"):
                raise
        else:
            _print(session, record)
            return 0
    return print_spec(session, given)


def print_spec(session: Session, given: Given) -> int:
    """Check and print what these options and arguments would run."""
    body = request_body(session, given, "stopped")
    digest = ""
    if body["image"]:
        body["image"], digest = digest_of(session, given, body["image"])
    _print(session, {**body, "image_digest": digest})
    return 0


def _print(session: Session, record: dict[str, Any]) -> None:
    fields = ("namespace", "id", "image", "image_digest", "options")
    body = {name: record[name] for name in fields}
    print_json(session.ask("bundles", "bundles.spec", body, limit=LIMIT)["spec"])


COMMAND = Command(
    "spec",
    "Print the specification that the runtime is given",
    run,
    arguments=("[IMAGE|CONTAINER]", "[COMMAND...]"),
    options=OPTIONS,
    literal=True,
)
