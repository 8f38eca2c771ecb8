"""actr tag: a further name for an image."""

from __future__ import annotations

from cli.options import Command, Given
from cli.table import print_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print the new name."""
    source, target = given.arguments
    found = session.ask("metadata", "images.get", {"namespace": session.namespace, "name": source})
    body = {"namespace": session.namespace, "name": target, "target": found["target"]}
    image = session.ask("metadata", "images.put", {**body, "labels": found["labels"]})
    print_result(session, image, [image["name"]])
    return 0


COMMAND = Command("tag", "Give an image a further name", run, arguments=("IMAGE", "NEW"))
