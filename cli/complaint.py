"""What is said on standard error: one line, what went wrong and what to do."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import RefusedError


def complain(text: str) -> None:
    """One line on standard error."""
    print(f"actr: {text}", file=sys.stderr)


def refusal(error: RefusedError, *, debug: bool = False) -> str:
    """What the daemon said, and what to do; with `debug` also who said so, asked what."""
    if debug:
        found = error.error
        by = f" by {found.actor}" if found.actor else ""
        return f"{_advised(error)} ({error.op}: {found.code}{by}, {found.outcome})"
    return _advised(error)


def _advised(error: RefusedError) -> str:
    from cli.hints import hint

    text = " ".join(str(error).split())
    if "exit_code" in error.error.details or text.endswith("?"):  # the program's own, or advice already
        return text
    if error.error.details.get("node"):
        return f"{text}; how the nodes are: actr node ls"
    advice = hint(error.code, error.op, error.body, outcome=error.error.outcome)
    return f"{text}; {advice}" if advice else text
