"""actr containerd import: images of a containerd that has been stopped."""

from __future__ import annotations

import os
import sys

from cli.jobs import do, lend
from cli.options import Command, Given, Option
from cli.table import print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

ROOT = "/var/lib/containerd"


def run(session: Session, given: Given) -> int:
    """Print the name of each image that came; 1 when one could not be taken."""
    wish = {
        "namespace": given.text("from") or session.namespace,
        "images": given.arguments,
        "platform": given.text("platform"),
        "unpack": not given.flag("no-unpack"),
    }
    fd = os.open(given.text("root", ROOT), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        result = do(session, "containerd", {**wish, "source": lend(fd)}, quiet=given.flag("quiet"))
    finally:
        os.close(fd)
    if session.json:
        print_json(result)
    else:
        for image in result["images"]:
            print(image["name"])
    for one in result["skipped"]:
        print(f"actr: {one['name']} was left out: {one['reason']}", file=sys.stderr)
    return 1 if result["skipped"] else 0


COMMAND = Command(
    "containerd import",
    "Take over images and their content from the directory of a containerd that does not run",
    run,
    arguments=("[IMAGE...]",),
    options=(
        Option("--root", f"containerd's root ({ROOT})", value="DIR"),
        Option("--from", "containerd's namespace (the one that they come into)", value="NAMESPACE"),
        Option("--platform", "platform to unpack, of an image for several (this machine's)", value="OS/ARCH"),
        Option("--no-unpack", "store it only; it cannot be run until it is pulled or loaded again"),
        Option("-q --quiet", "show no progress"),
    ),
)
