"""What the tree is told. Each event is a fact that has already happened, or a person's wish.

Events of a process carry its incarnation, so that one that comes late, for a process long replaced and
whose pid may be in use again, is recognised and ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.supervision.reason import ExitReason
from actors.supervision.spec import ChildSpec

RequestId = str | int | bytes


@dataclass(frozen=True, slots=True)
class Boot:
    """Start whatever is missing. Comes once, after every `Adopt`.

    `incarnations` holds the highest number each name has had so far, as far as the zygote knows: numbers
    are never used twice, also across a restart of the supervisor.
    """

    incarnations: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Adopt:
    """A process that already lives: its supervisor takes it over and does not start it again.

    Before `Boot`, all that the zygote lists; after it, one that registers late. `spec` is what it was
    started from; `supervisor` the one it belonged to, which matters for dynamic children only. `pid` is 0
    for one that sleeps: a dynamic supervisor takes it over asleep.
    """

    supervisor: str
    spec: ChildSpec
    pid: int
    incarnation: int
    info: object = None


@dataclass(frozen=True, slots=True)
class Spawned:
    """The fork was made: the child has a pid, but is not ready. Answers each `Spawn`, unless it failed."""

    name: str
    pid: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class Started:
    """The child is ready. `info` is whatever it says about itself."""

    name: str
    pid: int
    incarnation: int
    info: object = None


@dataclass(frozen=True, slots=True)
class Ignored:
    """The child chose not to run and has ended. Takes the place of `Exited`."""

    name: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class StartFailed:
    """No process came to be, or it said why it could not start and has ended. Takes the place of `Exited`."""

    name: str
    incarnation: int
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class Exited:
    """The process has ended; before it was ready, this is a failed start."""

    name: str
    pid: int
    incarnation: int
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class Slept:
    """A child without anything to do has ended, until `Woken`. Takes the place of `Exited`."""

    name: str
    pid: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class Woken:
    """There is something to do for a child, should it be asleep."""

    name: str


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The time of a `SetTimer` has come. One that was cancelled meanwhile is ignored."""

    key: str


@dataclass(frozen=True, slots=True)
class Hung:
    """The child stopped answering its heartbeat, or did not become ready in time."""

    name: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Call:
    """A person's or an actor's operation on a supervisor: see `calls.OPERATIONS`."""

    request: RequestId
    operation: str
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Stop everything in order, then exit."""


Event = (
    Boot
    | Adopt
    | Spawned
    | Started
    | Ignored
    | StartFailed
    | Exited
    | Slept
    | Woken
    | TimerFired
    | Hung
    | Call
    | Shutdown
)
