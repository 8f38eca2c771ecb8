"""actr images convert: the same image, compressed in another way or for some platforms only."""

from __future__ import annotations

from cli.jobs import do
from cli.options import QUIET, Command, Given, Option
from cli.table import print_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print the new name."""
    source, target = given.arguments
    wish = {
        "image": source,
        "target": target,
        "compression": given.text("compression", "zstd"),
        "platforms": given.many("platform"),
    }
    image = do(session, "convert", wish, quiet=given.flag("quiet"))
    print_result(session, image, [image["name"]])
    return 0


COMMAND = Command(
    "images convert",
    "Make an image compressed in another way, or of some platforms",
    run,
    arguments=("IMAGE", "NEW"),
    options=(
        Option(
            "--compression",
            "how its layers are compressed: zstd, gzip or none (zstd)",
            value="KIND",
            choices=("zstd", "gzip", "none"),
        ),
        Option(
            "--platform", "only this platform of an image that has several (all)", value="OS/ARCH", many=True
        ),
        QUIET,
    ),
)
