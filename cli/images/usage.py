"""actr images usage: what images take."""

from __future__ import annotations

from cli.jobs import do
from cli.options import Command, Given
from cli.table import familiar, print_json, print_table, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

HEADS = ("IMAGE", "BLOBS", "SIZE", "UNIQUE")


def run(session: Session, given: Given) -> int:
    """Print blobs, their bytes, and how many of those no other image has."""
    found = [do(session, "usage", {"image": name}, quiet=True) for name in given.arguments]
    if session.json:
        print_json(found)
    else:
        rows = [
            (familiar(one["name"]), str(one["blobs"]), size(one["size"]), size(one["unique"]))
            for one in found
        ]
        print_table(HEADS, rows, (0,), (0,))
    return 0


COMMAND = Command("images usage", "See what the blobs of images take", run, arguments=("IMAGE...",))
