"""Being the terminal of a process: output, input, keys, sizes, signals. For run, exec, start and attach."""

from __future__ import annotations

import contextlib

from cli.forwarding import Forwarding
from cli.options import Given, Option
from cli.terminal import DETACH_KEYS, Keys, Raw, parse_keys, refuse_without_terminal, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from cli.session import Session

INTERACTIVE = Option("-i --interactive", "keep standard input open, and send it ours")
TERMINAL = Option("-t --tty", "give it a terminal")
KEYS = Option("--detach-keys", f"keys that detach ({DETACH_KEYS})", value="KEYS")
STREAMS = (INTERACTIVE, TERMINAL, KEYS)


def wanted(given: Given, *, attached: bool) -> dict[str, Any]:
    """`terminal`, `stdin` and the size, as given. Raises UsageError."""
    keys(given)
    terminal, stdin = given.flag("tty"), given.flag("interactive")
    if terminal and stdin and attached:
        refuse_without_terminal()
    found: dict[str, Any] = {name: True for name, on in (("terminal", terminal), ("stdin", stdin)) if on}
    now = size() if terminal else None
    if now is not None:
        found["console_size"] = list(now)
    return found


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
