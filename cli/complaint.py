"""What is said on standard error: one line, what went wrong and what to do."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import RefusedError


def complain(text: str) -> None:
    """One line on standard error."""
    say_aside(f"actr: {text}")


def say_aside(text: str) -> None:
    """On standard error. Where that takes nothing, the exit code has to do, and is no other for it."""
    try:  # noqa: SIM105  # contextlib takes a millisecond to load
        print(text, file=sys.stderr, flush=True)
    except OSError:
        pass


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
    # The program's own, or advice already.
    if "exit_code" in error.error.details or text.endswith("?") or "see actr " in text:
        return text
    if error.error.details.get("node"):
        return f"{text}; how the nodes are: actr node ls"
    if error.error.details.get("full"):
        return f"{text}; what takes how much: actr system df"
    advice = hint(error.code, error.op, error.body, outcome=error.error.outcome)
    return f"{text}; {advice}" if advice else text
