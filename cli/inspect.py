"""actr inspect: everything about one container or image, as JSON."""

from __future__ import annotations

from cli.options import Command, Given, Option
from cli.session import RefusedError
from cli.table import print_by, print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print the container of that name, else the image."""
    name, kind = given.arguments[0], given.text("type")
    if given.text("template"):
        print_by(given.text("template"))
    if given.flag("remote") or given.flag("referrers"):
        print_json(_at_registry(session, name, "referrers" if given.flag("referrers") else "describe"))
        return 0
    if kind == "image":
        print_json(_image(session, name))
        return 0
    try:
        print_json(session.container(name))
    except RefusedError as error:
        if kind == "container" or error.code not in ("not_found", "invalid_argument"):
            raise
        print_json(_image_instead(session, name, error))
    return 0


def _at_registry(session: Session, name: str, question: str) -> dict[str, Any]:
    """What the registry says; documents come as the text that they are."""
    import json

    from cli.transfer import ask

    found = ask(session, question, name)
    return {
        key: json.loads(value) if key in ("document", "config") else value for key, value in found.items()
    }


def _image(session: Session, name: str) -> dict[str, Any]:
    return session.ask("metadata", "images.get", {"namespace": session.namespace, "name": name})


def _image_instead(session: Session, name: str, error: RefusedError) -> dict[str, Any]:
    try:
        return _image(session, name)
    except RefusedError as also:
        if also.code in ("not_found", "invalid_argument"):
            raise error from also
        raise


COMMAND = Command(
    "inspect",
    "Show everything about a container or an image, as JSON",
    run,
    arguments=("CONTAINER|IMAGE",),
    options=(
        Option("-f --template", "print by this, as with --format: '{{.Task.Pid}}'", value="TEMPLATE"),
        Option(
            "--type",
            "which of the two: container or image (whichever has the name)",
            value="KIND",
            choices=("container", "image"),
        ),
        Option("--remote", "show the image as its registry has it, without pulling it"),
        Option("--referrers", "show what at its registry refers to the image: signatures, lists of parts"),
    ),
)
