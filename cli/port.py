"""actr port: the published ports of a container."""

from __future__ import annotations

from cli.options import Command, Given
from cli.table import print_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print them, a line each."""
    container = session.container(given.arguments[0])
    body = {"namespace": session.namespace, "id": container["id"]}
    found = session.ask("network", "network.ports", body)["ports"]
    print_result(session, found, map(_line, found))
    return 0


def _line(one: dict[str, Any]) -> str:
    host = f"[{one['host']}]" if ":" in one["host"] else one["host"] or "*"
    return f"{one['container_port']}/{one['protocol']} -> {host}:{one['host_port']}"


COMMAND = Command("port", "Show the published ports of a container", run, arguments=("CONTAINER",))
