"""actr leases create: a lease of one's own."""

from __future__ import annotations

import time

from cli.options import LABEL, Command, Given, Option
from cli.table import print_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

DAY = 86400.0
EXPIRE, FLAT = "containerd.io/gc.expire", "containerd.io/gc.flat"


def run(session: Session, given: Given) -> int:
    """Make it and print its id."""
    labels = given.pairs("label")
    seconds = given.number("ttl", DAY)
    if seconds:
        labels[EXPIRE] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
    if given.flag("flat"):
        labels[FLAT] = "yes"
    wish = {"namespace": session.namespace, "id": "".join(given.arguments), "labels": labels}
    lease = session.ask_once("metadata", "leases.create", wish)
    print_result(session, lease, [lease["id"]])
    return 0


COMMAND = Command(
    "leases create",
    "Make a lease, and print its id",
    run,
    arguments=("[NAME]",),
    options=(
        Option("--ttl", "seconds until it expires, 0 for never (86400: a day)", value="SECONDS"),
        LABEL,
        Option("--flat", "hold only what is named, not what that refers to"),
    ),
)
