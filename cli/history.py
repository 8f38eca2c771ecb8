"""actr history: how an image came to be."""

from __future__ import annotations

from cli.jobs import do
from cli.options import PLATFORM, Command, Given
from cli.table import print_json, print_table, short, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

HEADS = ("LAYER", "CREATED", "CREATED BY", "SIZE", "COMMENT")


def run(session: Session, given: Given) -> int:
    """Print its steps, the latest first."""
    wish = {"image": given.arguments[0], "platform": given.text("platform")}
    found = do(session, "history", wish, quiet=True)["history"]
    if session.json:
        print_json(found)
        return 0
    rows = [
        (
            short(one.get("digest", "")),
            one.get("created", ""),
            " ".join(one.get("created_by", "").split()),
            size(one["size"]) if "size" in one else "",
            one.get("comment", ""),
        )
        for one in found
    ]
    print_table(HEADS, rows, (2, 4))
    return 0


COMMAND = Command(
    "history",
    "Show the steps that made an image, the latest first",
    run,
    arguments=("IMAGE",),
    options=(PLATFORM,),
)
