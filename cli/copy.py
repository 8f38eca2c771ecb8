"""actr copy: from one registry to another, without unpacking."""

from __future__ import annotations

from cli.options import Command, Given, Option
from cli.table import print_json
from cli.transfer import logins_for, transfer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Copy an image with all its platforms, or one; print its new name and digest."""
    source, target = given.arguments
    wish = {"task": "copy", "reference": source, "target": target, "platform": given.text("platform")}
    logins = logins_for(source, target)
    result = transfer(session, "transfers.start", wish, logins=logins, quiet=given.flag("quiet"))
    if session.json:
        print_json(result)
    else:
        print(result["digest"] if given.flag("quiet") else f"{result['name']}@{result['digest']}")
    return 0


COMMAND = Command(
    "copy",
    "Copy an image from one registry to another",
    run,
    arguments=("SOURCE", "TARGET"),
    options=(
        Option("-q --quiet", "print the digest only"),
        Option("--platform", "only what an image for several has for this one", value="OS/ARCH"),
    ),
)
