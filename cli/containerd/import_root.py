"""actr containerd import: images of a containerd that has been stopped."""

from __future__ import annotations

import os

from cli.complaint import complain
from cli.jobs import do, lend
from cli.options import NO_UNPACK, QUIET, UNPACKED_PLATFORM, Command, Given, Option
from cli.table import print_result

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
    print_result(session, result, (image["name"] for image in result["images"]))
    for one in result["skipped"]:
        complain(f"{one['name']} was left out: {one['reason']}")
    return 1 if result["skipped"] else 0


COMMAND = Command(
    "containerd import",
    "Take over images and their content from a containerd that is stopped",
    run,
    arguments=("[IMAGE...]",),
    options=(
        Option("--root", f"containerd's root directory ({ROOT})", value="DIR"),
        Option("--from", "containerd's namespace (that of --namespace)", value="NAMESPACE"),
        UNPACKED_PLATFORM,
        NO_UNPACK,
        QUIET,
    ),
)
