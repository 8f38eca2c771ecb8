"""actr update: change limits and restart policies, of running containers too."""

from __future__ import annotations

from cli.each import for_each
from cli.limits import LIMITS, limits
from cli.options import Command, Given, Option, UsageError
from cli.supervising import RESTART, restart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

FIXED = ("ulimit", "oom-score-adj", "shm-size", "cgroup-parent")  # for the whole life of a process


def run(session: Session, given: Given) -> int:
    """Update each, print its name."""
    options = {key: value for key, value in limits(given).items() if value not in ("", [])}
    if given.flag("restart"):
        options["restart"] = restart(given.text("restart"))
    if not options:
        raise UsageError("update wants something to change, for example --memory 512m")

    def update(name: str) -> str:
        session.ask(session.container(name)["actor"], "tasks.update", {"options": options})
        return name

    return for_each(given.arguments, update)


def _changing(option: Option) -> Option:
    """The same, without what holds where it is not given: that is what holds already."""
    return Option(" ".join(option.names), option.help.rpartition(" (")[0] or option.help, value=option.value)


COMMAND = Command(
    "update",
    "Change limits and restart policies of containers",
    run,
    arguments=("CONTAINER...",),
    options=tuple(_changing(option) for option in (*LIMITS, RESTART) if option.key not in FIXED),
)
