"""actr system gc: collect, now."""

from __future__ import annotations

from cli.options import Command, Given
from cli.table import print_result, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

SLOW = 600.0  # seconds for stores with very much garbage
KINDS = ("leases", "images", "snapshots", "blobs", "ingests")


def run(session: Session, given: Given) -> int:
    """Print what went."""
    del given
    gone = session.ask("collector", "gc.run", {}, limit=SLOW)
    print_result(session, gone, [summary(gone)])
    return 0


def summary(gone: dict[str, Any]) -> str:
    """One line: `removed 2 snapshots, 5 blobs; 3.1 MB`."""
    counts = [f"{gone[kind]} {kind if gone[kind] != 1 else kind[:-1]}" for kind in KINDS if gone[kind]]
    return f"removed {', '.join(counts)}; {size(gone['bytes'])}" if counts else "nothing to remove"


COMMAND = Command("system gc", "Collect what nothing refers to, now", run)
