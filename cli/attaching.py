"""Being the terminal of a process: output, input, keys, sizes, signals. For run, exec, start and attach."""

from __future__ import annotations

import contextlib

from cli.forwarding import Forwarding
from cli.streams import DETACH_KEYS
from cli.terminal import Keys, Raw, parse_keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.options import Given
    from cli.session import Session


def keys(given: Given) -> Keys:
    """Those that detach. Raises UsageError."""
    return Keys(parse_keys(given.text("detach-keys", DETACH_KEYS)))


@contextlib.contextmanager
def attached(
    session: Session,
    actor: str,
    name: str,
    exec_id: str = "",
    *,
    terminal: bool,
    typing: Keys | None,
    fit: bool = False,
) -> Iterator[None]:
    """While it is entered, we are its terminal; `typing` (the keys that detach) sends it our input too.

    `fit` gives its terminal the size of ours first. Raises DetachedError.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(Forwarding(session, actor, name, exec_id))
        if terminal:
            raw = Raw(session, actor, exec_id, take=typing is not None)
            stack.enter_context(raw)
            if fit:
                raw.resize()
        if typing is not None:
            from cli.feeding import Feeding  # threads are paid for by those who type

            stack.enter_context(Feeding(session, actor, exec_id, typing if terminal else None))
        yield
