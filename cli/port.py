"""actr port: the published ports of a container."""

from __future__ import annotations

from cli.complaint import complain
from cli.options import Command, Given, UsageError, is_number
from cli.table import print_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print them, a line each; of the one that was named only where it is, 1 if it is nowhere."""
    name, wanted = given.arguments[0], _port(given.arguments[1]) if len(given.arguments) > 1 else None
    container = session.container(name)
    body = {"namespace": session.namespace, "id": container["id"]}
    found = session.ask("network", "network.ports", body)["ports"]
    if wanted is None:
        print_result(session, found, map(_line, found))
        return 0
    found = [one for one in found if (one["container_port"], one["protocol"]) == wanted]
    print_result(session, found, (_place(one, "0.0.0.0") for one in found))  # noqa: S104  # no name for it
    if not found:
        complain(f"{name} publishes no port {wanted[0]}/{wanted[1]}; see what it does: actr port {name}")
    return 0 if found else 1


def _port(text: str) -> tuple[int, str]:
    """Of `80` or `53/udp`. Raises UsageError."""
    number, _, protocol = text.partition("/")
    if not is_number(number) or protocol not in ("", "tcp", "udp", "sctp"):
        raise UsageError(f"a port is given as 80 or 53/udp, not {text!r}")
    return int(number), protocol or "tcp"


def _line(one: dict[str, Any]) -> str:
    return f"{one['container_port']}/{one['protocol']} -> {_place(one, '*')}"


def _place(one: dict[str, Any], anywhere: str) -> str:
    host = f"[{one['host']}]" if ":" in one["host"] else one["host"] or anywhere
    return f"{host}:{one['host_port']}"


COMMAND = Command("port", "Show the published ports of a container", run, arguments=("CONTAINER", "[PORT]"))
