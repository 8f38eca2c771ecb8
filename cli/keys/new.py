"""actr keys new: a key pair for a client, allowed here, in a file that the client connects with."""

from __future__ import annotations

import json
import os

from cli.options import Command, Given, Option, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

ROLE = Option(
    "--role",
    "observer: looks; operator: as much as root on the host; admin: keys and the daemon, too (operator)",
    value="ROLE",
    choices=("observer", "operator", "admin"),
)


def run(session: Session, given: Given) -> int:
    """Write the file first: a key that nobody has is of no use, a file that nobody allows is harmless."""
    from transport.keys import new_pair

    name, role = given.arguments[0], given.text("role", "operator")
    server = session.ask("metadata", "keys.server", {})
    endpoint = given.text("endpoint") or server["endpoint"]
    if not endpoint:
        raise UsageError(
            "the daemon listens nowhere: start it with --listen tcp://ADDRESS:PORT, or give --endpoint"
        )
    pair = new_pair()
    path = given.text("output") or f"{name}.json"
    fields = {
        "endpoint": endpoint, "server": server["public"], "node": server["node"],
        "name": name, "role": role, "public": pair.public, "secret": pair.secret,
    }  # fmt: skip
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} exists: choose another place with -o, or remove it") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(fields, indent=2) + "\n")
    try:
        session.ask("metadata", "keys.allow", {"name": name, "public": pair.public, "role": role})
    except BaseException:
        os.unlink(path)  # noqa: PTH108  # pathlib is 4 ms
        raise
    print(path)
    return 0


COMMAND = Command(
    "keys new",
    "Make a key, let its holder in, and write a connection file",
    run,
    arguments=("NAME",),
    options=(
        ROLE,
        Option("-o --output", "where to write it (NAME.json here)", value="FILE"),
        Option(
            "--endpoint", "where the client reaches the daemon (where that listens)", value="tcp://HOST:PORT"
        ),
    ),
)
