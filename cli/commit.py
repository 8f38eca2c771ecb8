"""actr commit: an image from what a container has changed."""

from __future__ import annotations

from cli.jobs import do
from cli.options import QUIET, Command, Given, Option
from cli.table import print_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print the image's name."""
    container, target = given.arguments
    wish = {
        "container": container,
        "target": target,
        "message": given.text("message"),
        "author": given.text("author"),
        "changes": given.many("change"),
        "compression": given.text("compression", "gzip"),
        "pause": not given.flag("no-pause"),
    }
    image = do(session, "commit", wish, quiet=given.flag("quiet"))
    print_result(session, image, [image["name"]])
    return 0


COMMAND = Command(
    "commit",
    "Make an image of a container and what it has changed",
    run,
    arguments=("CONTAINER", "NEW"),
    options=(
        Option("-m --message", "a comment for actr history", value="TEXT"),
        Option("-a --author", "who made it", value="NAME"),
        Option(
            "-c --change", "an instruction as in a Dockerfile, such as 'ENV A=1'", value="TEXT", many=True
        ),
        Option(
            "--compression",
            "how the new layer is compressed: zstd, gzip or none (gzip)",
            value="KIND",
            choices=("zstd", "gzip", "none"),
        ),
        Option("--no-pause", "let the container run on meanwhile; its files may change"),
        QUIET,
    ),
)
