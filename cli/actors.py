"""actr actors: the daemon's processes as the tree that they are."""

from __future__ import annotations

import time

from cli.options import Command, Given
from cli.table import SHORT_ID, brief, print_json, print_table, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

HEADS = ("ACTOR", "KIND", "STATE", "PID", "INC", "RESTARTS", "MEMORY", "UP")
ROOTS = ("zygote", "supervisor")  # each is the parent of what follows it


def run(session: Session, given: Given) -> int:
    """Print the tree, or all fields as JSON."""
    del given
    found = session.ask("supervisor", "introspection.actors", {})["actors"]
    if session.json:
        print_json(found)
        return 0
    now = time.time_ns()
    print_table(HEADS, [row(name, one, now) for name, one in tree(found)], (0,))
    return 0


def tree(found: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Each actor with its name indented: zygote, supervisor, then everything it keeps alive."""
    chain = [one for root in ROOTS for one in found if one["name"] == root]
    rest = [one for one in found if one not in chain]
    below = [one for one in rest if "/" not in one["name"]]
    below += sorted((one for one in rest if "/" in one["name"]), key=lambda one: str(one["name"]))
    shown = [(_branch(level, last=True) + one["name"], one) for level, one in enumerate(chain)]
    depth = len(chain)
    shown += [(_branch(depth, last=one is below[-1]) + short_name(one["name"]), one) for one in below]
    return shown


def _branch(level: int, *, last: bool) -> str:
    return "   " * (level - 1) + ("└─ " if last else "├─ ") if level else ""


def short_name(name: str) -> str:
    """Of `container/default/3f2a...` what the column beside it does not say, with a short id."""
    kind, _, rest = name.partition("/")
    namespace, _, identity = rest.partition("/")
    return f"{namespace}/{identity[:SHORT_ID]}" if identity else kind


def row(name: str, actor: dict[str, Any], now: int) -> tuple[str, ...]:
    """One line of the table; what does not run has no process."""
    pid, began = actor.get("pid") or 0, actor.get("started_at") or 0
    return (
        name,
        actor["kind"],
        actor["state"],
        str(pid) if pid else "-",
        str(actor["incarnation"]),
        str(actor["restarts"]),
        size(actor.get("memory") or 0) if pid else "-",
        brief(now - began) if pid and began else "-",
    )


COMMAND = Command("actors", "Show the daemon's processes as a tree", run)
