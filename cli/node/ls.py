"""actr node ls: the nodes, and how they are."""

from __future__ import annotations

import time

from cli.options import NAMES_ONLY, Command, Given
from cli.table import print_json, print_table, span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

HEADS = ("NODE", "STATE", "PHI", "TRIP", "CONTAINERS", "ENDPOINT")
LIMIT = 3.0  # seconds for a node that is up to say what it is


def run(session: Session, given: Given) -> int:
    """What this node thinks of them, and what those that are up say of themselves; this one stands first."""
    known = session.ask("nodes", "nodes.list", {})
    where = "" if session.node else session.address
    own = {"name": known["own"], "link": "own", "state": "up", "role": "local", "endpoint": where}
    rows = [_asked(session, one) for one in (own, *known["nodes"])]
    if given.flag("quiet"):
        print("\n".join(one["name"] for one in rows))
    elif session.json:
        print_json(rows)
    else:
        now = time.time_ns()
        print_table(HEADS, [_row(one, now) for one in rows], (5,))
    return 0


def _asked(session: Session, node: dict[str, Any]) -> dict[str, Any]:
    """With version and number of containers, where that is to be had."""
    from cli.session import RefusedError

    if node["link"] == "accepted" or node["state"] not in ("up", "suspect"):
        return node
    if session.node and node["link"] == "joined":  # nobody speaks through one node with another
        return node
    to = "supervisor" if node["link"] == "own" else f"{node['name']}/supervisor"
    try:
        info = session.ask(to, "introspection.info", {}, limit=LIMIT)
    except RefusedError as error:
        return {**node, "error": str(error)}
    return {**node, "version": info["version"], "containers": info["containers"]}


def _row(one: dict[str, Any], now: int) -> tuple[str, ...]:
    trip = f"{one['round_trip'] * 1000:.1f} ms" if one.get("round_trip") else ""
    state = f"{one['state']} {span(now - one['since'])}" if "since" in one else one["state"]
    phi = f"{one['phi']:.1f}" if "phi" in one else ""
    end = one["endpoint"] if "endpoint" in one else f"joined us, key {one['key']}"
    return (one["name"], state, phi, trip, str(one.get("containers", "")), end)


COMMAND = Command(
    "node ls",
    "List the nodes, and how they are: up, suspect or down",
    run,
    options=(NAMES_ONLY,),
)
