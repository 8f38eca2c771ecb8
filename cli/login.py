"""actr login: keep a user name and password for a registry, once the registry has accepted them.

They are read from the terminal or from standard input, never from the command line, which everybody on the
machine can see. They are kept in docker's config.json, or in the credential helper that it names.
"""

from __future__ import annotations

import os
import sys

from cli.options import Command, Given, Option, UsageError
from cli.transfer import ask, config_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session
    from transport.registry.credentials import Login

LONGEST_SECRET = 64 << 10  # characters


def run(session: Session, given: Given) -> int:
    """Ask for what is missing, have the daemon try it, keep it, and say where."""
    from pathlib import Path

    from transport.registry.endpoint import DOCKER_HUB, check_host
    from transport.registry.login_file import LoginFile

    host = given.arguments[0] if given.arguments else DOCKER_HUB
    check_host(host)
    login = _login(given)
    ask(session, "login", host, logins={host: login.to_dict()})
    where = LoginFile(Path(config_path())).store(host, login)
    print(f"logged in to {host}; the login is kept in {where}")
    return 0


def _login(given: Given) -> Login:
    """Raises UsageError."""
    from transport.registry.credentials import Login

    token = given.flag("identity-token")
    username = given.text("user")
    if not username and not token:
        if given.flag("password-stdin"):
            raise UsageError("--password-stdin wants --user NAME")
        username = _typed("user name: ")
    secret = _secret(given, "identity token: " if token else "password: ")
    return Login(username, identity_token=secret) if token else Login(username, secret)


def _typed(question: str) -> str:
    if not sys.stdin.isatty():
        raise UsageError("standard input is no terminal: give --user NAME and --password-stdin")
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _secret(given: Given, question: str) -> str:
    if given.flag("password-stdin"):
        secret = sys.stdin.read(LONGEST_SECRET).removesuffix("\n").removesuffix("\r")
    elif os.isatty(0):
        from getpass import getpass

        secret = getpass(question)
    else:
        raise UsageError("standard input is no terminal: give --password-stdin")
    if not secret:
        raise UsageError("the password is empty")
    return secret


COMMAND = Command(
    "login",
    "Keep a login for a registry",
    run,
    arguments=("[HOST]",),
    options=(
        Option("-u --user", "user name (asked for)", value="NAME"),
        Option("--password-stdin", "read the password from standard input (asked for at the terminal)"),
        Option(
            "--identity-token", "what is read is an identity token, not a password; no user name is needed"
        ),
    ),
)
