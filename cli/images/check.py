"""actr images check: whether images are whole."""

from __future__ import annotations

from cli.jobs import do
from cli.options import Command, Given, Option
from cli.table import familiar, print_json, print_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

HEADS = ("IMAGE", "STATUS", "UNPACKED", "MISSING", "DAMAGED")


def run(session: Session, given: Given) -> int:
    """Print a line for each image; 1 when one is not whole."""
    names = given.arguments or _all(session)
    found = [do(session, "check", {"image": name, "deep": given.flag("deep")}, quiet=True) for name in names]
    if session.json:
        print_json(found)
    else:
        print_table(HEADS, [_row(one) for one in found], (0,), (0,))
    return 0 if all(one["complete"] for one in found) else 1


def _all(session: Session) -> list[str]:
    listed = session.ask_all("metadata", "images.list", {"namespace": session.namespace}, "images")
    return [one["name"] for one in listed]


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    status = "complete" if one["complete"] else "incomplete"
    counts = (str(len(one["missing"])), str(len(one["damaged"])))
    return (familiar(one["name"]), status, "yes" if one["unpacked"] else "no", *counts)


COMMAND = Command(
    "images check",
    "See whether images are whole",
    run,
    arguments=("[IMAGE...]",),
    options=(Option("--deep", "read every byte and compare it with the digests"),),
)
