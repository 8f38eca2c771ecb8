"""actr pull: fetch an image, and show how far it is."""

from __future__ import annotations

from cli.options import PLATFORM, Command, Given, Option, UsageError
from cli.table import print_result
from cli.transfer import logins_for, transfer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Pull one image and print its name."""
    everything, platform = given.flag("all-platforms"), given.text("platform")
    if everything and platform:
        raise UsageError("--platform and --all-platforms exclude each other")
    image = pull(
        session,
        given.arguments[0],
        quiet=given.flag("quiet"),
        platform=platform,
        snapshotter=given.text("snapshotter"),
        all_platforms=everything,
        node=given.text("from"),
    )
    print_result(session, image, [image.get("name", given.arguments[0])])
    return 0


def pull(
    session: Session,
    reference: str,
    *,
    quiet: bool = False,
    platform: str = "",
    snapshotter: str = "",
    all_platforms: bool = False,
    node: str = "",
) -> dict[str, Any]:
    """Have the daemon pull, from a registry or from `node`; progress goes to standard error.

    Returns the image. Raises RefusedError.
    """
    wish: dict[str, Any] = {"reference": reference, "platform": platform}
    if snapshotter:
        wish["snapshotter"] = snapshotter
    if all_platforms:
        wish["all_platforms"] = True
    if node:
        wish["node"] = node

    def pulled_since(started: int) -> dict[str, Any] | None:
        return _pulled_since(session, reference, started)

    logins = logins_for(reference)
    image = transfer(session, "images.pull", wish, logins=logins, quiet=quiet, done_since=pulled_since)
    return {key: value for key, value in image.items() if key != "warnings"}


def _pulled_since(session: Session, reference: str, started: int) -> dict[str, Any] | None:
    image = session.find_image(reference)
    return image if image and int(image.get("updated_at", 0)) >= started else None


COMMAND = Command(
    "pull",
    "Fetch an image from a registry, or from another node",
    run,
    arguments=("IMAGE",),
    options=(
        Option("-q --quiet", "print the image's name only, and show no progress"),
        PLATFORM,
        Option(
            "--snapshotter", "where to unpack it: overlayfs or native (the daemon's: overlayfs)", value="NAME"
        ),
        Option(
            "--from",
            "take what this node has by that name, and ask no registry (the registry)",
            value="NODE",
        ),
        Option("-a --all-platforms", "fetch it for all its platforms; unpack it for this machine's"),
    ),
)
