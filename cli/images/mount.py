"""actr images mount: an image's files at a directory, in the mount namespace that we are in."""

from __future__ import annotations

from pathlib import Path

from cli.jobs import do
from cli.options import PLATFORM, QUIET, Command, Given, Option, UsageError
from cli.table import print_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print the directory."""
    from actors.linux import mounts
    from actors.linux.mount_values import Mount, read_only
    from actors.linux.mountinfo import is_mount_point

    name, place = given.arguments[0], str(Path(given.arguments[1]).resolve())
    if not Path(place).is_dir():
        raise UsageError(f"{place} is no directory: make it first")
    if is_mount_point(place):
        raise UsageError(f"something is mounted at {place} already")
    wish = {"image": name, "place": place, "platform": given.text("platform")}
    found = do(session, "mount", wish, quiet=given.flag("quiet"))
    for one in found["mounts"]:
        value = Mount(one["type"], one["source"], tuple(one["options"]), base=one.get("base") or None)
        mounts.mount_one(value if given.flag("rw") else read_only(value), place)
    print_result(session, {"image": name, "place": place, "key": found["key"]}, [place])
    return 0


COMMAND = Command(
    "images mount",
    "Mount the files of an image at a directory, read-only",
    run,
    arguments=("IMAGE", "DIRECTORY"),
    options=(
        Option("--rw", "let them be written to; what is written is gone after images umount"),
        PLATFORM,
        QUIET,
    ),
)
