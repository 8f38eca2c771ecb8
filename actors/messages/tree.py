"""The tree and the daemon as a whole: the supervisor."""

from dataclasses import dataclass, field

from actors.messages.declare import Json, SnapshotterName, operation


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
    """Answer: `actors`, a list of name, kind, state, pid, incarnation, restarts, memory, started_at."""


@operation("children.start", "supervisor", repeatable=True)
@dataclass(frozen=True, slots=True)
class ChildrenStart:
    """Start a dynamic child and wait until it is ready. Answer: `actor`. One that runs is no error."""

    kind: str
    name: str
    args: Json = field(default_factory=dict)


@operation("images.pull", "supervisor", repeatable=True)
@dataclass(frozen=True, slots=True)
class ImagesPull:
    """As `transfers.start` with the task `pull`."""

    namespace: str
    reference: str
    platform: str = ""
    snapshotter: SnapshotterName = ""
    all_platforms: bool = False
    brings_login: bool = False
