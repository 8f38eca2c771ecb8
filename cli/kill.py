"""actr kill: send a signal."""

from __future__ import annotations

import signal

from cli.each import for_each
from cli.options import Command, Given, Option, UsageError, is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Send it to each, print its name."""
    number = signal_number(given.text("signal", "KILL"))

    def kill(name: str) -> str:
        session.ask_once(session.container(name)["actor"], "tasks.kill", {"signal": number})
        return name

    return for_each(given.arguments, kill)


def signal_number(text: str) -> int:
    """From `TERM`, `SIGTERM`, `15` or `RTMIN+3`. Raises UsageError."""
    if is_number(text) and 0 < int(text) < signal.NSIG:
        return int(text)
    name, plus, offset = text.upper().removeprefix("SIG").partition("+")
    known = {one.name.removeprefix("SIG"): int(one) for one in signal.Signals}
    number = known.get(name, 0) + (int(offset) if plus and is_number(offset) else 0)
    if name not in known or number >= signal.NSIG or (plus and name != "RTMIN"):
        raise UsageError(f"there is no signal {text!r}: give a name such as TERM, or a number")
    return number


COMMAND = Command(
    "kill",
    "Send a signal to the first process of containers",
    run,
    arguments=("CONTAINER...",),
    options=(Option("-s --signal", "the signal: name, such as HUP, or number (KILL)", value="SIGNAL"),),
)
