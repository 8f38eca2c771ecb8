"""actr save: images into an archive or a layout."""

from __future__ import annotations

import sys

from cli.archives import archive, directory, is_standard_output
from cli.jobs import do, lend
from cli.options import QUIET, Command, Given, Option, UsageError
from cli.table import print_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Write one archive with all images that were named."""
    if given.text("output") and given.text("directory"):
        raise UsageError("save takes either --output or --directory")
    wish: dict[str, Any] = {
        "images": given.arguments,
        "platform": given.text("platform"),
        "all_platforms": given.flag("all-platforms"),
    }
    quiet = given.flag("quiet")
    if given.text("directory"):
        with directory(given.text("directory")) as (fd, fresh):
            wish |= {"target": lend(fd), "fresh": fresh, "directory": True}
            result = do(session, "save", wish, quiet=quiet)
    else:
        with archive(given.text("output", "-")) as (fd, fresh):
            result = do(session, "save", {**wish, "target": lend(fd), "fresh": fresh}, quiet=quiet)
    _report(session, given, result)
    return 0


def _report(session: Session, given: Given, result: dict[str, Any]) -> None:
    """On standard output, unless the archive is there."""
    if not given.text("directory") and is_standard_output(given.text("output", "-")):
        sys.stdout.flush()
    else:
        print_result(session, result, (image["name"] for image in result["images"]))


COMMAND = Command(
    "save",
    "Write images to an archive that OCI's and Docker's tools read",
    run,
    arguments=("IMAGE...",),
    options=(
        Option("-o --output", "the archive; - for standard output (-)", value="FILE"),
        Option(
            "-d --directory",
            "write an OCI layout into this directory instead, which is empty or new",
            value="DIR",
        ),
        Option(
            "--platform",
            "only this platform of an image that has several, as an image of its own (all that are here)",
            value="OS/ARCH",
        ),
        Option("--all-platforms", "refuse an image that has several platforms unless all of them are here"),
        QUIET,
    ),
)
