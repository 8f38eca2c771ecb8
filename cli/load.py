"""actr load: images from an archive or a layout."""

from __future__ import annotations

from cli.archives import incoming
from cli.jobs import do, lend
from cli.options import NO_UNPACK, QUIET, UNPACKED_PLATFORM, Command, Given, Option
from cli.table import print_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print the name of each image that came."""
    wish: dict[str, Any] = {"platform": given.text("platform"), "unpack": not given.flag("no-unpack")}
    if given.text("base-name"):
        wish["base"] = given.text("base-name")
    with incoming(given.text("input", "-")) as fd:
        result = do(session, "load", {**wish, "source": lend(fd)}, quiet=given.flag("quiet"))
    print_result(session, result, (image["name"] for image in result["images"]))
    return 0


COMMAND = Command(
    "load",
    "Take images from an archive or a layout: OCI's or Docker's",
    run,
    options=(
        Option("-i --input", "the archive or directory; - for standard input (-)", value="PATH"),
        Option("--base-name", "name for images that have only a tag in the archive", value="NAME"),
        UNPACKED_PLATFORM,
        NO_UNPACK,
        QUIET,
    ),
)
