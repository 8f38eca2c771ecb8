"""actr push: send an image to a registry."""

from __future__ import annotations

from cli.options import DIGEST_ONLY, Command, Given, Option
from cli.transfer import logins_for, send

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
    return send(session, given, wish, logins_for(target or image))


COMMAND = Command(
    "push",
    "Send an image to a registry",
    run,
    arguments=("IMAGE", "[TARGET]"),
    options=(
        DIGEST_ONLY,
        Option("--platform", "only this platform of an image that has several (all)", value="OS/ARCH"),
        Option(
            "--chunk",
            "send blobs in pieces of so many MiB, each of which can be sent again (whole)",
            value="MIB",
        ),
    ),
)
