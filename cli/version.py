"""actr version: ours, and the daemon's."""

from __future__ import annotations

from actors import __version__
from cli.options import Command, Given, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print both; ours also when no daemon answers."""
    if given.flag("client"):
        _print(session, {"client": {"version": __version__}})
        return 0
    if not session.json:
        print(f"client  {__version__}", flush=True)
    daemon = session.ask("supervisor", "introspection.version", {})
    if session.json:
        _print(session, {"client": {"version": __version__}, "daemon": daemon})
    else:
        print(
            f"daemon  {daemon.get('version')}  protocol {daemon.get('protocol')}  node {daemon.get('node')}"
        )
    return 0


def _print(session: Session, found: dict[str, dict[str, Any]]) -> None:
    if session.json:
        from cli.table import print_json

        print_json(found)
    else:
        print(f"client  {found['client']['version']}")


COMMAND = Command(
    "version",
    "Show the versions of actr and the daemon",
    run,
    options=(Option("--client", "print only that of actr, and ask no daemon"),),
)
