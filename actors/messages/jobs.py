"""Work on images beside pulling: load, save, convert, commit and so on, each an actor while it lasts."""

from dataclasses import dataclass, field

from actors.messages.declare import Json, operation


@operation("jobs.start", "supervisor", repeatable=True)
@dataclass(frozen=True, slots=True)
class JobsStart:
    """Start a piece of work on images, or join it. Answer: `actor`, to be asked to attach.

    Attributes:
        id: chosen by the client, an identifier; asked for again while it lasts, it is not begun twice.
        work: which; see actors/jobs/.
        args: what that work takes.
    """

    namespace: str
    id: str
    work: str
    args: Json = field(default_factory=dict)


@operation("jobs.attach", "job", repeatable=True, streams=True)
@dataclass(frozen=True, slots=True)
class JobsAttach:
    """Progress as PART {ref, status, offset, total}, then the work's result as the final answer."""
