"""actr system prune: remove what is not used."""

from __future__ import annotations

from cli.options import Command, Given, Option
from cli.system.gc import SLOW, summary
from cli.table import print_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Print each thing that went, and what that has freed."""
    wish = {
        "namespace": "" if given.flag("all-namespaces") else session.namespace,
        "images": given.flag("all"),
        "containers": given.flag("all") or given.flag("containers"),
    }
    gone = session.ask("collector", "system.prune", wish, limit=SLOW)
    removed = [f"{one['kind']} {one['name']}" for one in gone["removed"]]
    print_result(session, gone, [*removed, summary(gone)])
    return 0


COMMAND = Command(
    "system prune",
    "Remove what is not used, and collect",
    run,
    options=(
        Option("--containers", "remove also containers that have exited"),
        Option("-a --all", "remove those, and all images that no container uses"),
        Option("-A --all-namespaces", "in every namespace, not only that of --namespace"),
    ),
)
