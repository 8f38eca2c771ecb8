"""actr images inspect: manifest and config of an image, as JSON."""

from __future__ import annotations

from cli.jobs import do
from cli.options import PLATFORM, Command, Given
from cli.table import print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print everything about it."""
    wish = {"image": given.arguments[0], "platform": given.text("platform")}
    print_json(do(session, "inspect", wish, quiet=True))
    return 0


COMMAND = Command(
    "images inspect",
    "Show the manifest and config of an image, as JSON",
    run,
    arguments=("IMAGE",),
    options=(PLATFORM,),
)
