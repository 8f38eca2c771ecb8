"""Every message between actors and from clients, declared once.

Operations follow containerd's services. Each is a frozen dataclass with `@operation`: its name on the
wire, the actor that owns it, the shape of its answer, and what may be repeated. docs/protocol.md is
checked against this file. Times are nanoseconds since the epoch, sizes are bytes.

Owners `container` and `puller` are kinds: such an operation is addressed to one actor of that kind, for
example `container/default/3f2a`. Owner `any` means every actor but the router. All others are addressed to
the actor of that name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

import msgspec

Labels = dict[str, str]
Json = dict[str, Any]
Wanted = Literal["running", "stopped", "removed"]
TaskStatus = Literal["created", "running", "paused", "stopped", "unknown"]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # what a database and a file's offset can hold


@dataclass(frozen=True, slots=True)
class Operation:
    """What is known of one operation.

    Attributes:
        repeatable: sending it again after an answer of unknown outcome does no harm.
        streams: partial answers come before the final one.
    """

    name: str
    owner: str
    body: type
    repeatable: bool
    streams: bool


ANY = "any"
OPERATIONS: dict[str, Operation] = {}
_BY_BODY: dict[type, Operation] = {}
_Body = TypeVar("_Body", bound=type)


def operation(
    name: str,
    owner: str,
    *,
    repeatable: bool = False,
    streams: bool = False,
) -> Callable[[_Body], _Body]:
    """Declare the class below as the body of an operation."""

    def declare(body: _Body) -> _Body:
        OPERATIONS[name] = _BY_BODY[body] = Operation(name, owner, body, repeatable, streams)
        return body

    return declare


def operation_of(body: object) -> Operation:
    """The operation whose request `body` is."""
    return _BY_BODY[type(body)]


# Every actor


@operation("failpoints.set", ANY, repeatable=True)
@dataclass(frozen=True, slots=True)
class FailpointsSet:
    """Have something go wrong at a place in the code; `permission_denied` without --failpoints.

    It goes for the actor that is asked. The supervisor hands what is not its own to the zygote: it then
    goes for every process that is forked from now on.

    Attributes:
        name: the place, for example `metadata.containers.create.after`.
        action: off, error(CODE), delay(MS), hang, kill or drop-reply; see actors/failpoints.py.
    """

    name: str
    action: str


@operation("failpoints.list", ANY, repeatable=True)
@dataclass(frozen=True, slots=True)
class FailpointsList:
    """Answer: `points`, each with name, how often it was `passed`, and action. As `failpoints.set`."""


# Introspection and the tree: the supervisor


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
    """Start the transfer of an image, or join one in flight. Answer: `actor`, to be asked to attach."""

    namespace: str
    reference: str
    platform: str = ""


# Images and containers: metadata


@operation("images.get", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ImagesGet:
    """Answer: name, target (a descriptor), labels, created_at, updated_at."""

    namespace: str
    name: str


@operation("images.list", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ImagesList:
    """Answer: `images`, each as `images.get` gives it."""

    namespace: str


@operation("images.put", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ImagesPut:
    """Create or update. Answer: the image."""

    namespace: str
    name: str
    target: Json
    labels: Labels = field(default_factory=dict)


@operation("images.delete", "metadata")
@dataclass(frozen=True, slots=True)
class ImagesDelete:
    """Forget a name. Refused while a container uses the image, unless forced. Answer: the image."""

    namespace: str
    name: str
    force: bool = False


@operation("containers.create", "metadata")
@dataclass(frozen=True, slots=True)
class ContainersCreate:
    """Record a container and start its actor. Answer: `id`, `name`, `actor`.

    Attributes:
        options: how to run it; see `actors.runtime.bundle.Wishes`.
        wanted: `running` to start it at once, or `stopped`.
        auto_remove: remove it when it has exited.
    """

    namespace: str
    image: str
    id: str = ""
    name: str = ""
    options: Json = field(default_factory=dict)
    labels: Labels = field(default_factory=dict)
    runtime: str = ""
    wanted: str = "stopped"
    auto_remove: bool = False


@operation("containers.get", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContainersGet:
    """By id, name, or an unambiguous beginning of an id. Answer: the record, with its `task`."""

    namespace: str
    id: str


@operation("containers.list", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContainersList:
    """Answer: `containers`, each as `containers.get` gives it. An empty namespace means every one."""

    namespace: str = ""


@operation("containers.want", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContainersWant:
    """Record what is wanted of a container: running, stopped or removed. Durable when answered."""

    namespace: str
    id: str
    wanted: Wanted


@operation("containers.forget", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContainersForget:
    """Delete the record: said by the container's actor, as the last step of a removal."""

    namespace: str
    id: str


@operation("tasks.record", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksRecord:
    """What became of a container's process: said by its actor. Durable when answered.

    Attributes:
        revision: grows with each change; an older one than what is recorded changes nothing.
    """

    namespace: str
    id: str
    revision: Number
    status: TaskStatus
    pid: Number = 0
    started_at: Number = 0
    exited_at: Number = 0
    exit_code: Number | None = None
    exit_reason: str = ""
    oom: bool = False
    error: str = ""


@operation("namespaces.list", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class NamespacesList:
    """Answer: `namespaces`, each with name and labels."""


# One container: its actor


@operation("tasks.start", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksStart:
    """Start it. Answered when it runs (or has run): status, pid."""


@operation("tasks.state", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksState:
    """Answer: phase, pid, exit code and times, execs, paths."""


@operation("tasks.kill", "container")
@dataclass(frozen=True, slots=True)
class TasksKill:
    """Send a signal to its first process, or to an exec's."""

    signal: int = 15
    exec_id: str = ""


@operation("tasks.stop", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksStop:
    """Send the stop signal and, after `grace` seconds, SIGKILL. Answered when it has exited."""

    grace: float = 10.0


@operation("tasks.wait", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksWait:
    """Answered when it has exited: exit_code (null for unknown), exited_at, error."""


@operation("tasks.output", "container", repeatable=True, streams=True)
@dataclass(frozen=True, slots=True)
class TasksOutput:
    """Its output from the given offsets on, as PART {stream, offset, at} with the bytes beside it.

    Attributes:
        follow: go on until it has exited; the final answer is then that of `tasks.wait` (and comes after
            the removal of a container that removes itself).
        exec_id: of this exec instead of the first process.
    """

    stdout: Number = 0
    stderr: Number = 0
    follow: bool = False
    exec_id: str = ""


@operation("tasks.exec", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksExec:
    """Run a further process; an id that is known already is not run again. Answered when it has started.

    Its output and exit are asked for with `tasks.output`; `tasks.exec_delete` lets go of them.
    """

    exec_id: str
    args: list[str]
    env: list[str] = field(default_factory=list)
    cwd: str = ""
    user: str = ""


@operation("tasks.exec_delete", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksExecDelete:
    """Forget an exec that has exited."""

    exec_id: str


@operation("containers.remove", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContainersRemove:
    """Remove it and all that belongs to it. Refused while it runs, unless forced."""

    force: bool = False


# Content, snapshots, network


@operation("content.open", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentOpen:
    """Open the ingest `ref` for writing. Answer: `path` of its directory and `offset` to go on from.

    Raises already_exists when `digest` is in the store.
    """

    ref: str
    digest: str = ""
    size: Number = 0


@operation("content.commit", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentCommit:
    """Make an ingest a blob: durable and visible when answered."""

    ref: str
    digest: str
    size: Number


@operation("content.info", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentInfo:
    """Answer: digest, size, path, created_at."""

    digest: str


@operation("content.list", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentList:
    """Answer: `blobs`, each as `content.info` gives it."""


@operation("content.delete", "content", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContentDelete:
    """Delete a blob. One that is gone is no error."""

    digest: str


@operation("snapshots.prepare", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsPrepare:
    """Make a writable snapshot `key` on top of the committed `parent`. Answer: mounts, upper, lowers."""

    namespace: str
    key: str
    parent: str = ""
    labels: Labels = field(default_factory=dict)


@operation("snapshots.mounts", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsMounts:
    """Answer: mounts, upper and lowers of the active snapshot `key`."""

    namespace: str
    key: str


@operation("snapshots.commit", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsCommit:
    """Make the active snapshot `key` the committed one `name`; if `name` exists, `key` is dropped."""

    namespace: str
    key: str
    name: str


@operation("snapshots.stat", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsStat:
    """Answer: key, parent, kind, labels, created_at, updated_at."""

    namespace: str
    key: str


@operation("snapshots.list", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsList:
    """Answer: `snapshots`, each as `snapshots.stat` gives it."""

    namespace: str


@operation("snapshots.remove", "snapshots", repeatable=True)
@dataclass(frozen=True, slots=True)
class SnapshotsRemove:
    """Remove a snapshot. One that is gone is no error; one with children is refused."""

    namespace: str
    key: str


@operation("network.attach", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class NetworkAttach:
    """Make sure that the container has its network namespace. Answer: `path`."""

    namespace: str
    id: str


@operation("network.detach", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class NetworkDetach:
    """Remove the container's network namespace. One that is gone is no error."""

    namespace: str
    id: str


# Bundles


@operation("bundles.make", "bundles", repeatable=True)
@dataclass(frozen=True, slots=True)
class BundlesMake:
    """Make everything that the runtime needs to start a container: snapshot, network, mount, config.json.

    Answer: `stop_signal`. What is there already is used or replaced.
    """

    namespace: str
    id: str
    image: str
    image_digest: str
    options: Json


# Events


@operation("events.publish", "events", repeatable=True)
@dataclass(frozen=True, slots=True)
class EventsPublish:
    """Journal an event and announce it. `key` makes it happen once, however often it is sent."""

    namespace: str
    topic: str
    key: str
    body: Json
    at: Number


@operation("events.subscribe", "events", repeatable=True, streams=True)
@dataclass(frozen=True, slots=True)
class EventsSubscribe:
    """Events after sequence number `after` (or since a time), as EVT; with `follow`, also those to come.

    An EVT with `gap` says that the journal no longer has what lies between. Answer: `instance`, `last`.
    """

    namespace: str = ""
    after: Number = 0
    since: Number = 0
    topic: str = ""
    container_id: str = ""
    follow: bool = False


# A transfer: its puller


@operation("transfers.attach", "puller", repeatable=True, streams=True)
@dataclass(frozen=True, slots=True)
class TransfersAttach:
    """Progress as PART, then the image as the final answer."""


@operation("metrics.address", "metrics", repeatable=True)
@dataclass(frozen=True, slots=True)
class MetricsAddress:
    """Answer: `url` of the HTTP endpoint."""


def owned_by(owner: str) -> Mapping[str, Operation]:
    """Operations of one actor or kind, by name."""
    return {name: found for name, found in OPERATIONS.items() if found.owner == owner}
