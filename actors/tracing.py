"""What a thread works for: the request that began it, and the trace to which that belongs.

A request that an actor makes carries the trace of the one that it handles. An answer, a thread of its own and
what that hands back go on with the cause of whoever began them; timers and what the kernel tells have none.
Each thread has its own, so a cause needs no lock, and none of it waits for anything.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, NamedTuple, TypeVar

from transport import traces
from transport.envelope import Envelope

T = TypeVar("T")
TRACE: Final = "actord.trace"
"""Its name among the annotations of a bundle, and in the body of an event as it is kept."""

_OF_CONTAINERS: Final = ("containers", "tasks", "bundles", "network")


class Cause(NamedTuple):
    """Why something is done.

    Attributes:
        trace: trace id, 32 hexadecimal digits; empty for none.
        span: the request in that trace, 16 digits: the beginning of its id.
        op: the operation; empty for a start.
        container: the container that it concerns; a client's word, not checked.
        parent: the span that asked for this one; empty for the first.
    """

    trace: str = ""
    span: str = ""
    op: str = ""
    container: str = ""
    parent: str = ""

    def carried(self) -> str:
        """As a request that is made for it has it."""
        return traces.carried(self.trace, self.span) if self.trace else ""


NOTHING: Final = Cause()
current: Final[ContextVar[Cause]] = ContextVar("cause", default=NOTHING)


def of_request(asked: Envelope, body: Any) -> Cause:
    """The cause that a request is."""
    trace, parent = traces.read(asked.trace) if asked.trace else ("", "")
    kind = asked.op.partition(".")[0]
    container = getattr(body, "container", "") or (getattr(body, "id", "") if kind in _OF_CONTAINERS else "")
    return Cause(trace, asked.id[:8].hex(), asked.op, container if isinstance(container, str) else "", parent)


def of_birth(carried: str) -> Cause:
    """The cause of a start."""
    return Cause(*traces.read(carried)) if carried else NOTHING


def bound(function: Callable[..., T]) -> Callable[..., T]:
    """The same, to be called elsewhere with the cause of now, which stays until that thread sets another."""
    cause = current.get()
    if cause is NOTHING:
        return function

    def with_cause(*given: Any) -> T:
        current.set(cause)
        return function(*given)

    return with_cause
