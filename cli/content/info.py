"""actr content info: one blob."""

from __future__ import annotations

from cli.options import Command, Given
from cli.table import print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print it as JSON."""
    wish = {"namespace": session.namespace, "digest": given.arguments[0]}
    print_json(session.ask("content", "content.info", wish))
    return 0


COMMAND = Command("content info", "Show what is known of a blob, as JSON", run, arguments=("DIGEST",))
