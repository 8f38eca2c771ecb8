"""actr pull: fetch an image, and show how far it is."""

from __future__ import annotations

import time

from cli.options import Command, Given, Option
from cli.progress import Bars, Lines, Quiet, progress
from cli.session import RefusedError
from cli.table import print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

PATIENCE = 20.0  # seconds in which a transfer that dies again and again may get somewhere
ATTEMPTS = 3  # times that a puller may be gone before it could be asked


def run(session: Session, given: Given) -> int:
    """Pull one image and print its name."""
    image = pull(session, given.arguments[0], quiet=given.flag("quiet"), platform=given.text("platform"))
    if session.json:
        print_json(image)
    else:
        print(image.get("name", given.arguments[0]))
    return 0


def pull(session: Session, reference: str, *, quiet: bool = False, platform: str = "") -> dict[str, Any]:
    """Have the daemon pull; progress goes to standard error. Returns the image. Raises RefusedError."""
    shown = progress(quiet=quiet)
    done = False
    try:
        image = _pull(session, reference, platform, shown)
        done = True
    finally:
        shown.close(done=done)
    return image


def _pull(session: Session, reference: str, platform: str, shown: Bars | Lines | Quiet) -> dict[str, Any]:
    """A puller ends with its transfer: one that is gone has either succeeded or must be asked for anew."""
    wish = {"namespace": session.namespace, "reference": reference, "platform": platform}
    started = time.time_ns()
    for attempt in range(ATTEMPTS):
        actor = str(session.ask("supervisor", "images.pull", wish)["actor"])
        try:
            return _attach(session, actor, wish, shown)
        except RefusedError as error:
            if not _puller_is_gone(error, actor):
                raise
            image = _pulled_since(session, reference, started)
            if image is not None:
                return image
            if attempt + 1 == ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _attach(
    session: Session, actor: str, wish: dict[str, Any], shown: Bars | Lines | Quiet
) -> dict[str, Any]:
    """Raises RefusedError, naming the image that was wished for."""
    try:
        for message in session.stream(actor, "transfers.attach", {}, credit=1 << 20, patience=PATIENCE):
            if message.kind == "final":
                image: dict[str, Any] = message.body
                return image
            shown.part(message.body)
    except RefusedError as error:
        raise RefusedError(error.error, error.op, wish) from error
    raise AssertionError("a stream ends with a final answer or an error")


def _puller_is_gone(error: RefusedError, actor: str) -> bool:
    """The router knows no such actor; that a registry has no such image is said by the puller itself."""
    return error.code == "not_found" and str(error) == f"no actor is named {actor}"


def _pulled_since(session: Session, reference: str, started: int) -> dict[str, Any] | None:
    try:
        image = session.ask("metadata", "images.get", {"namespace": session.namespace, "name": reference})
    except RefusedError as error:
        if error.code == "not_found":
            return None
        raise
    return image if int(image.get("updated_at", 0)) >= started else None


COMMAND = Command(
    "pull",
    "Fetch an image from a registry",
    run,
    arguments=("IMAGE",),
    options=(
        Option("-q --quiet", "print the image's name only"),
        Option("--platform", "of an image for several, for example linux/arm64", value="OS/ARCH"),
    ),
)
