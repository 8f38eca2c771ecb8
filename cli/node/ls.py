"""actr node ls: the nodes, and whether they answer."""

from __future__ import annotations

import time

from cli.options import Command, Given, Option
from cli.table import print_json, print_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

HEADS = ("NODE", "STATE", "VERSION", "CONTAINERS", "ROUND TRIP", "ROLE", "ENDPOINT")


def run(session: Session, given: Given) -> int:
    """Ask each of them; this one stands first."""
    known = session.ask("metadata", "nodes.list", {})
    own = {"name": known["own"], "endpoint": session.address, "role": "local"}
    rows = [_asked(session, own)] + [_asked(session.at(one["name"]), one) for one in known["nodes"]]
    if given.flag("quiet"):
        print("\n".join(one["name"] for one in rows))
    elif session.json:
        print_json(rows)
    else:
        print_table(HEADS, [_row(one) for one in rows], (6,))
    return 0


def _asked(session: Session, node: dict[str, Any]) -> dict[str, Any]:
    from cli.session import RefusedError
    from transport.client import NotRunningError
    from transport.errors import ProtocolError

    try:
        session.ask("supervisor", "introspection.version", {}, limit=5.0)
        began = time.monotonic()
        info = session.ask("supervisor", "introspection.info", {}, limit=5.0)
        took = time.monotonic() - began
    except (NotRunningError, ProtocolError, RefusedError) as error:
        return {**node, "state": "unreachable", "error": str(error)}
    finally:
        if session.node:
            session.close()
    fields = {"version": info["version"], "containers": info["containers"], "round_trip": took}
    return {**node, "state": "up", **fields}


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    trip = f"{one['round_trip'] * 1000:.1f} ms" if "round_trip" in one else ""
    seen = (str(one.get("version", "")), str(one.get("containers", "")), trip)
    return (one["name"], one["state"], *seen, one["role"], one["endpoint"])


COMMAND = Command(
    "node ls",
    "List the nodes, and whether they answer",
    run,
    options=(Option("-q --quiet", "print names only"),),
)
