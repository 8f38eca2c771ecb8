"""The tree and the daemon as a whole: the supervisor."""

from dataclasses import dataclass, field
from typing import Literal

from actors.messages.declare import Json, Number, SnapshotterName, operation


@operation("introspection.version", "supervisor", repeatable=True)
@dataclass(frozen=True, slots=True)
class Version:
    """Answer: version, protocol, node, instance, python, platform."""


@operation("introspection.info", "supervisor", repeatable=True)
@dataclass(frozen=True, slots=True)
class Info:
    """That of `version`, and root, state, runtime, snapshotter, kernel, cgroups, actors, containers."""


@operation("introspection.actors", "supervisor", repeatable=True)
@dataclass(frozen=True, slots=True)
class Actors:
    """Answer: `actors`, a list of name, kind, state, pid, incarnation, restarts, memory, started_at.

    And since this supervisor began: `reports`, how many the supervision tree has made, by kind; `exits`, how
    often actors ended, each with kind, reason (normal, shutdown, killed, hung, or the exception) and number.

    Attributes:
        memory: whether to measure it, which takes a few milliseconds for each process.
    """

    memory: bool = True


@operation("actors.watch", "supervisor", repeatable=True)
@dataclass(frozen=True, slots=True)
class ActorsWatch:
    """Wait for the end of one incarnation of an actor. Answer: name, incarnation, reason, once.

    `reason` has the kind (normal, shutdown, killed, abnormal) and more where it is known: text, exit_code,
    signal. Of an incarnation that is not there any more the answer comes at once. An actor of another node is
    `node/name`; when that node is down the answer is of kind `noconnection`: the actor may well live.

    Attributes:
        incarnation: 0: answered at once with the one that runs (0 for none) and an empty reason.
    """

    name: str
    incarnation: Number = 0


@operation("supervision.call", "supervisor")
@dataclass(frozen=True, slots=True)
class SupervisionCall:
    """Ask a supervisor of the tree. Answer: `result`.

    Attributes:
        supervisor: root, containers, pullers or jobs.
        operation: which_children, count_children, get_child_spec, terminate_child, restart_child,
            or change: flags and specifications, live, as docs/supervision.md has them.
        args: `id` of the child; `spec` for change.
    """

    supervisor: str
    operation: Literal[
        "which_children", "count_children", "get_child_spec", "terminate_child", "restart_child", "change"
    ]
    args: Json = field(default_factory=dict)


@operation("children.start", "supervisor", repeatable=True)
@dataclass(frozen=True, slots=True)
class ChildrenStart:
    """Start a dynamic child and wait until it is ready. Answer: `actor`. One that runs is no error.

    Attributes:
        told: what only the process that is started by this very message is told, and none that follows it.
    """

    kind: str
    name: str
    args: Json = field(default_factory=dict)
    told: Json = field(default_factory=dict)


@operation("images.pull", "supervisor", repeatable=True)
@dataclass(frozen=True, slots=True)
class ImagesPull:
    """As `transfers.start` with the task `pull`."""

    namespace: str
    reference: str
    platform: str = ""
    snapshotter: SnapshotterName = ""
    all_platforms: bool = False
    node: str = ""
    brings_login: bool = False
