"""Containers on record, and what became of them: metadata."""

from dataclasses import dataclass, field

from actors.messages.declare import Json, Labels, Number, SnapshotterName, TaskStatus, Wanted, operation
from actors.messages.events import NewEvent


@operation("containers.create", "metadata")
@dataclass(frozen=True, slots=True)
class ContainersCreate:
    """Record a container and start its actor. Answer: `id`, `name`, `actor`.

    Attributes:
        options: how to run it; see `actors.runtime.wishes.Wishes`.
        wanted: `running` to start it at once, or `stopped`.
        auto_remove: remove it when it has exited.
        snapshotter: `overlayfs`, `native`, or empty for the default; the image must be unpacked there.
        snapshot_key: of the snapshot that a client of containerd's API has made for it.
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
    snapshotter: SnapshotterName = ""
    snapshot_key: str = ""


@operation("containers.get", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContainersGet:
    """By id, name, or an unambiguous beginning of an id. Answer: the record, with its `task`.

    Attributes:
        retired: also one that is gone for everybody but its actor, which still has to clear up.
    """

    namespace: str
    id: str
    retired: bool = False


@operation("containers.list", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContainersList:
    """Answer: `containers`, each as `containers.get` gives it. An empty namespace means every one.

    The oldest of a namespace come first. With `page`: by id, as many as a message holds, and `next`, to be
    asked for as `after`; empty with the last.

    Attributes:
        retired: as for `containers.get`.
        brief: without labels, and of the options only `entrypoint`, `args` and, for one of containerd's API,
            `foreign`, as true: whole records of hundreds of those are more than an answer has room for.
    """

    namespace: str = ""
    retired: bool = False
    brief: bool = False
    page: bool = False
    after: str = ""


@operation("containers.want", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContainersWant:
    """Record what is wanted of a container: running, stopped or removed. Durable when answered."""

    namespace: str
    id: str
    wanted: Wanted


@operation("containers.update", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContainersUpdate:
    """Replace what is given. Durable when answered. Answer: the record.

    Name and options of a container are its actor's to change, but for the option `foreign`, which is that of
    the client of containerd's API who has described it: `options` leave it as it is.

    Attributes:
        name: empty to leave it.
        options: null to leave them; and so for what follows.
        fields: which labels (`labels.KEY`); none, or `labels`: all are replaced.
        described: parts of the option `foreign`, in place of those that there are.
        extensions: some of its extensions, beside the others.
    """

    namespace: str
    id: str
    name: str = ""
    options: Json | None = None
    labels: Labels | None = None
    image: str | None = None
    snapshot_key: str | None = None
    fields: list[str] = field(default_factory=list)
    described: Json | None = None
    extensions: Json | None = None


@operation("containers.networks", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContainersNetworks:
    """Record that it is on a network from its next start, or no longer: said by network, before it acts.

    Attributes:
        wish: how it is connected, as `network.connect` has it; null: it is to be off that network.
    """

    network: str
    wish: Json | None = None


@operation("containers.forget", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ContainersForget:
    """Delete the record: said by the container's actor, as the last step of a removal.

    Attributes:
        created_at: of the record that is meant; a younger one of the same id stays. 0: any.
        told: announced once it is gone, whoever dies meanwhile.
    """

    namespace: str
    id: str
    created_at: Number = 0
    told: NewEvent | None = None


@operation("tasks.record", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class TasksRecord:
    """What became of a container's process: said by its actor. Durable when answered.

    Attributes:
        revision: grows with each change; an older one than what is recorded changes nothing.
        final: the end of one that removes itself. In the same commit it retires: its name is free, and nobody
            but its actor finds it any more. The record stays until the actor has cleared up.
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
    health: str = ""
    restarts: Number = 0
    final: bool = False
