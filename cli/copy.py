"""actr copy: from one registry to another, without unpacking."""

from __future__ import annotations

from cli.options import DIGEST_ONLY, Command, Given, Option
from cli.transfer import logins_for, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Copy an image with all its platforms, or one; print its new name and digest."""
    source, target = given.arguments
    wish = {"task": "copy", "reference": source, "target": target, "platform": given.text("platform")}
    return send(session, given, wish, logins_for(source, target))


COMMAND = Command(
    "copy",
    "Copy an image from one registry to another",
    run,
    arguments=("SOURCE", "TARGET"),
    options=(
        DIGEST_ONLY,
        Option("--platform", "only this platform of an image that has several (all)", value="OS/ARCH"),
    ),
)
