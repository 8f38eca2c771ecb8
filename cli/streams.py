"""Options about standard streams, for run, create, exec, start and attach.

Separate from `cli.attaching`, which a client loads only once its container is on the way: signals, terminals
and context managers are 6 ms of imports.
"""

from __future__ import annotations

from cli.options import Given, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DETACH_KEYS = "ctrl-p,ctrl-q"
INTERACTIVE = Option("-i --interactive", "send it our standard input")
TERMINAL = Option("-t --tty", "give it a terminal")
KEYS = Option("--detach-keys", f"keys that leave it running, with -it ({DETACH_KEYS})", value="KEYS")
STREAMS = (INTERACTIVE, TERMINAL, KEYS)


def wanted(given: Given, *, attached: bool) -> dict[str, Any]:
    """`terminal`, `stdin` and the size, as given. Raises UsageError."""
    terminal, stdin = given.flag("tty"), given.flag("interactive")
    if not (terminal or given.flag("detach-keys")):
        return {"stdin": True} if stdin else {}
    from cli.attaching import keys
    from cli.terminal import refuse_without_terminal, size

    keys(given)
    if terminal and stdin and attached:
        refuse_without_terminal()
    found: dict[str, Any] = {name: True for name, on in (("terminal", terminal), ("stdin", stdin)) if on}
    now = size() if terminal else None
    if now is not None:
        found["console_size"] = list(now)
    return found
