"""actr logout: forget the login for a registry."""

from __future__ import annotations

from cli.options import Command, Given
from cli.transfer import config_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Remove it from where `login` has kept it. No daemon is asked."""
    from pathlib import Path

    from transport.registry.endpoint import DOCKER_HUB, check_host
    from transport.registry.login_file import LoginFile

    del session
    host = given.arguments[0] if given.arguments else DOCKER_HUB
    check_host(host)
    known = LoginFile(Path(config_path())).erase(host)
    print(f"{'removed the login for' if known else 'there is no login for'} {host}")
    return 0


COMMAND = Command("logout", "Forget the login for a registry", run, arguments=("[HOST]",))
