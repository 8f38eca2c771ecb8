"""actr system check: are the stores sound?"""

from __future__ import annotations

from cli.options import Command, Given, Option
from cli.table import print_json, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

SLOW = 3600.0  # seconds for reading all blobs
LIMIT = Option(
    "--limit", "read so many megabytes of blobs at most, the smallest first; 0 for all (0)", value="MB"
)


def run(session: Session, given: Given) -> int:
    """Print each problem; the exit code says whether there are any."""
    wish = {"limit": limit(given)}
    problems = session.ask("collector", "system.check", wish, limit=SLOW)["problems"]
    if session.json:
        print_json(problems)
    else:
        print_problems(problems)
    return 1 if problems else 0


def limit(given: Given) -> int:
    """In bytes. Raises UsageError."""
    return int(given.number("limit", 0) * 1_000_000)


def print_problems(problems: list[dict[str, Any]]) -> None:
    """One line each, with what repair would do."""
    for one in problems:
        remedy = f" (repair: {one['repair']})" if one["repair"] else ""
        print(printable(f"{one['kind']}: {one['what']}{remedy}"))
    if not problems:
        print("no problems found")


COMMAND = Command("system check", "Compare records, blobs and directories", run, options=(LIMIT,))
