"""What all commands that talk to registries have in common: start a transfer, watch it, get its result.

The login that the caller's own docker config.json has for a registry goes with the request, straight to the
one process that does the transfer. The daemon's own logins are its own affair.
"""

from __future__ import annotations

import itertools
import os
import time

from cli.progress import progress
from cli.session import RefusedError
from cli.table import print_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cli.options import Given
    from cli.progress import Bars, Lines, Quiet
    from cli.session import Session

    Logins = dict[str, dict[str, str]]

PATIENCE = 20.0  # seconds in which a transfer that dies again and again may get somewhere
ATTEMPTS = 3  # times that a puller may be gone before it could be asked, however long it all takes
GONE_LIMIT = 60.0  # seconds in which it may be gone more often: each time that the daemon is started again


def transfer(
    session: Session,
    op: str,
    wish: dict[str, Any],
    *,
    logins: Logins | None = None,
    quiet: bool = False,
    done_since: Callable[[int], dict[str, Any] | None] = lambda _: None,
) -> dict[str, Any]:
    """Have the daemon do it; progress goes to standard error. Returns the result.

    `done_since` looks whether it has been done since a time, for a puller that has ended meanwhile.

    Raises:
        RefusedError: it was refused, or failed.
    """
    body = {"namespace": session.namespace, **wish, **({"brings_login": True} if logins else {})}
    shown = progress(quiet=quiet)
    done = False
    try:
        result = _attempts(session, op, body, logins or {}, shown, done_since)
        done = True
    finally:
        shown.close(done=done)
    for warning in result.get("warnings", ()):
        shown.warn(str(warning))
    return result


def _attempts(
    session: Session,
    op: str,
    body: dict[str, Any],
    logins: Logins,
    shown: Bars | Lines | Quiet,
    done_since: Callable[[int], dict[str, Any] | None],
) -> dict[str, Any]:
    """A puller ends with its transfer: one that is gone has either succeeded or must be asked for anew."""
    started, until = time.time_ns(), time.monotonic() + GONE_LIMIT
    for attempt in itertools.count(1):
        actor = str(session.ask("supervisor", op, body)["actor"])
        try:
            return _attach(session, actor, body, logins, shown)
        except RefusedError as error:
            if not error.says_gone(actor):
                raise
            result = done_since(started)
            if result is not None:
                return result
            if attempt >= ATTEMPTS and time.monotonic() > until:
                raise
    raise AssertionError("it returns or raises")


def _attach(
    session: Session, actor: str, wish: dict[str, Any], logins: Logins, shown: Bars | Lines | Quiet
) -> dict[str, Any]:
    """Raises RefusedError, naming what was wished for and no login."""
    body = {"logins": logins} if logins else {}
    try:
        for message in session.stream(actor, "transfers.attach", body, credit=1 << 20, patience=PATIENCE):
            if message.kind == "final":
                result: dict[str, Any] = message.body
                return result
            shown.part(message.body)
    except RefusedError as error:
        raise RefusedError(error.error, error.op, wish) from None
    raise AssertionError("a stream ends with a final answer or an error")


def config_path() -> str:
    """Docker's config.json of whoever calls."""
    folder = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")  # noqa: PTH111  # pathlib is 4 ms
    return os.path.join(folder, "config.json")  # noqa: PTH118


def logins_for(*references: str) -> Logins:
    """The caller's logins for the registries of some images. Raises RegistryError, StorageError."""
    path = config_path()
    if not os.path.exists(path):  # noqa: PTH110
        return {}
    from pathlib import Path

    from storage.reference import Reference
    from transport.registry.credentials import DockerConfig

    config = DockerConfig(Path(path))
    found = {}
    for host in dict.fromkeys(Reference.parse(reference).domain for reference in references):
        login = config.lookup(host)
        if login is not None:
            found[host] = login.to_dict()
    return found


def ask(session: Session, task: str, reference: str, *, logins: Logins | None = None) -> dict[str, Any]:
    """Ask a registry something; each question is asked anew. Raises RefusedError."""
    given = logins_for(reference) if logins is None else logins
    wish = {"task": task, "reference": reference, "id": os.urandom(8).hex()}
    return transfer(session, "transfers.start", wish, logins=given, quiet=True)


def send(session: Session, given: Given, wish: dict[str, Any], logins: Logins) -> int:
    """Have an image sent somewhere; print its name there and its digest, of `--quiet` only that."""
    result = transfer(session, "transfers.start", wish, logins=logins, quiet=given.flag("quiet"))
    line = result["digest"] if given.flag("quiet") else f"{result['name']}@{result['digest']}"
    print_result(session, result, [line])
    return 0
