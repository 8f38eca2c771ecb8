"""actr import: an image of one layer from a tar of its files."""

from __future__ import annotations

from cli.archives import incoming
from cli.jobs import do, lend
from cli.options import QUIET, Command, Given, Option
from cli.table import print_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print the image's name."""
    path, target = given.arguments
    wish = {
        "target": target,
        "message": given.text("message"),
        "changes": given.many("change"),
        "platform": given.text("platform"),
    }
    with incoming(path) as fd:
        image = do(session, "import", {**wish, "source": lend(fd)}, quiet=given.flag("quiet"))
    print_result(session, image, [image["name"]])
    return 0


COMMAND = Command(
    "import",
    "Make an image of one layer from a tar of its files",
    run,
    arguments=("FILE", "NEW"),
    options=(
        Option("-m --message", "a comment for actr history", value="TEXT"),
        Option("-c --change", "an instruction as in a Dockerfile, such as 'CMD sh'", value="TEXT", many=True),
        Option(
            "--platform", "platform that it is for, such as linux/arm64 (this machine's)", value="OS/ARCH"
        ),
        QUIET,
    ),
)
