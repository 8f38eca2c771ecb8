"""actr content rm: have the namespace forget blobs."""

from __future__ import annotations

from cli.each import for_each
from cli.options import Command, Given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Forget each, print it; what no namespace knows is collected."""

    def forget(digest: str) -> str:
        session.ask("content", "content.delete", {"namespace": session.namespace, "digest": digest})
        return digest

    return for_each(given.arguments, forget)


COMMAND = Command("content rm", "Have the namespace forget blobs", run, arguments=("DIGEST...",))
