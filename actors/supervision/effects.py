"""What the tree wants done. Performing them, in order, is all that the supervisor actor does with them."""

from dataclasses import dataclass
from typing import Literal

from actors.supervision.events import RequestId
from actors.supervision.reason import ExitReason
from actors.supervision.spec import ChildSpec

ReportKind = Literal[
    "progress", "start_error", "child_terminated", "shutdown_error", "reached_max_restart_intensity"
]
ErrorCode = Literal[
    "already_started",
    "already_present",
    "running",
    "restarting",
    "not_found",
    "invalid_argument",
    "start_failed",
    "unavailable",
]


@dataclass(frozen=True, slots=True)
class Spawn:
    """Fork the child. Answered by Spawned and later Started, Ignored, StartFailed or Exited."""

    name: str
    spec: ChildSpec
    incarnation: int


@dataclass(frozen=True, slots=True)
class Terminate:
    """Ask the process to end: SIGTERM."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End the process: SIGKILL."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class Dump:
    """Have the process write the stacks of its threads to the log."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Send TimerFired(key) at `at`, in seconds of the clock that `now` comes from. Keys are used once."""

    key: str
    at: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """The timer is not needed any more; should it fire none the less, that does no harm."""

    key: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The one final answer to a Call."""

    request: RequestId
    result: object


@dataclass(frozen=True, slots=True)
class ReplyError:
    """The one final answer to a Call that was refused or failed."""

    request: RequestId
    code: ErrorCode
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """Something to publish as event, log line and metric.

    `context` says during what: start, restart, wake, adopt, run or shutdown. `reason` is None for progress.
    """

    kind: ReportKind
    supervisor: str
    context: str
    reason: ExitReason | None
    child: str


@dataclass(frozen=True, slots=True)
class Restore:
    """A dynamic supervisor has (re)started: bring its desired children back with `start_child`.

    The tree forgets dynamic children when their supervisor gives up, as OTP does; the durable wish for
    them is kept by metadata. `already_started` is the right answer for those that were adopted.
    """

    supervisor: str


@dataclass(frozen=True, slots=True)
class Exit:
    """The root has ended, by request or because it gave up. The last effect ever."""

    reason: ExitReason


Effect = (
    Spawn | Terminate | Kill | Dump | SetTimer | CancelTimer | Reply | ReplyError | Report | Restore | Exit
)
