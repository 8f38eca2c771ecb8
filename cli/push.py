"""actr push: send an image to a registry."""

from __future__ import annotations

from cli.options import Command, Given, Option
from cli.table import print_json
from cli.transfer import logins_for, transfer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Push an image, under its own name or another, and print name and digest."""
    image = given.arguments[0]
    target = given.arguments[1] if len(given.arguments) > 1 else ""
    wish = {
        "task": "push",
        "reference": image,
        "target": target,
        "platform": given.text("platform"),
        "chunk": int(given.number("chunk", 0) * (1 << 20)),
    }
    logins = logins_for(target or image)
    result = transfer(session, "transfers.start", wish, logins=logins, quiet=given.flag("quiet"))
    if session.json:
        print_json(result)
    else:
        print(result["digest"] if given.flag("quiet") else f"{result['name']}@{result['digest']}")
    return 0


COMMAND = Command(
    "push",
    "Send an image to a registry",
    run,
    arguments=("IMAGE", "[TARGET]"),
    options=(
        Option("-q --quiet", "print the digest only"),
        Option("--platform", "only what an image for several has for this one", value="OS/ARCH"),
        Option("--chunk", "send blobs in pieces of so many MiB that can be sent again alone", value="MIB"),
    ),
)
