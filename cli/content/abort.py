"""actr content abort: drop ingests."""

from __future__ import annotations

from cli.each import for_each
from cli.options import Command, Given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Drop each, print it."""

    def abort(ref: str) -> str:
        session.ask("content", "content.abort", {"namespace": session.namespace, "ref": ref})
        return ref

    return for_each(given.arguments, abort)


COMMAND = Command("content abort", "Drop what is on its way in", run, arguments=("REF...",))
