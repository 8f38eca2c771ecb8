"""Being the terminal of a process: output, input, keys, sizes, signals. For run, exec, start and attach."""

from __future__ import annotations

from cli.forwarding import Forwarding
from cli.streams import DETACH_KEYS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cli.options import Given
    from cli.session import Session
    from cli.terminal import Keys

    Body = Callable[[], dict[str, Any]]  # follows the output; returns the exit's answer


def keys(given: Given) -> Keys:
    """Those that detach. Raises UsageError."""
    from cli.terminal import Keys, parse_keys

    return Keys(parse_keys(given.text("detach-keys", DETACH_KEYS)))


def attached(
    body: Body,
    session: Session,
    actor: str,
    name: str,
    exec_id: str = "",
    *,
    terminal: bool,
    typing: Keys | None,
    fit: bool = False,
) -> dict[str, Any]:
    """While `body` runs, we are its terminal; `typing` (the keys that detach) sends it our input too.

    `fit` gives its terminal the size of ours first. Raises DetachedError.
    """
    with Forwarding(session, actor, name, exec_id):
        if not terminal:
            return body() if typing is None else _fed(body, session, actor, exec_id, None)
        from cli.terminal import Raw

        with Raw(session, actor, exec_id, take=typing is not None) as raw:
            if fit:
                raw.resize()
            return body() if typing is None else _fed(body, session, actor, exec_id, typing)


def _fed(body: Body, session: Session, actor: str, exec_id: str, leave: Keys | None) -> dict[str, Any]:
    from cli.feeding import Feeding  # threads are paid for by those who type

    with Feeding(session, actor, exec_id, leave):
        return body()
