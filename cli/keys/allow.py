"""actr keys allow: a key that its holder has made."""

from __future__ import annotations

from cli.keys.new import ROLE
from cli.options import Command, Given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Allow it and print its name."""
    name, public = given.arguments
    role = given.text("role", "operator")
    session.ask("metadata", "keys.allow", {"name": name, "public": public, "role": role})
    print(name)
    return 0


COMMAND = Command(
    "keys allow", "Let the holder of a key in", run, arguments=("NAME", "PUBLIC"), options=(ROLE,)
)
