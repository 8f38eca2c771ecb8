"""actr network check: what is wanted beside what the kernel has."""

from __future__ import annotations

from cli.options import Command, Given, Option
from cli.table import print_json, print_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

HEADS = ("OBJECT", "PROBLEM", "MENDED")


def run(session: Session, given: Given) -> int:
    """Print what differs; the exit code is 1 when something does and was not mended."""
    found = session.ask("network", "network.check", {"mend": given.flag("mend")})["findings"]
    if session.json:
        print_json(found)
    elif found:
        print_table(
            HEADS,
            [(one["object"], one["problem"], "yes" if one["mended"] else "no") for one in found],
            (1,),
            (),
        )
    else:
        print("everything is as it should be")
    return int(any(not one["mended"] for one in found))


COMMAND = Command(
    "network check",
    "Compare what is wanted with what the kernel has",
    run,
    options=(Option("--mend", "put right what can be put right"),),
)
