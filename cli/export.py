"""actr export: the files of a container as a tar."""

from __future__ import annotations

from cli.archives import archive, is_standard_output
from cli.jobs import do, lend
from cli.options import QUIET, Command, Given, Option
from cli.table import print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Write them to a file or standard output."""
    output = given.text("output", "-")
    with archive(output) as (fd, fresh):
        wish = {"container": given.arguments[0], "target": lend(fd), "fresh": fresh}
        written = do(session, "export", wish, quiet=given.flag("quiet"))
    if session.json and not is_standard_output(output):
        print_json(written)
    return 0


COMMAND = Command(
    "export",
    "Write the files of a container as a tar",
    run,
    arguments=("CONTAINER",),
    options=(
        Option("-o --output", "the tar; - for standard output (-)", value="FILE"),
        QUIET,
    ),
)
