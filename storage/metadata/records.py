"""The records that the metadata store hands out: values, never live objects.

Times are integer nanoseconds since the epoch; 0 means "not yet". Labels, options and targets are plain
dictionaries as JSON has them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Labels = Mapping[str, str]
Json = Mapping[str, Any]
Wanted = Literal["running", "stopped", "removed"]
TaskStatus = Literal["created", "running", "paused", "stopped", "unknown"]


@dataclass(frozen=True, slots=True)
class Namespace:
    """A name space of containers, images, leases and snapshots."""

    name: str
    labels: Labels


@dataclass(frozen=True, slots=True)
class Image:
    """A name that points at a descriptor (OCI image-spec, descriptor.md) kept as a dictionary."""

    namespace: str
    name: str
    target: Json
    labels: Labels
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class NewContainer:
    """What a container is created from; an empty `name` means that the id is its name too."""

    id: str
    name: str = ""
    image: str = ""
    image_digest: str = ""
    runtime: str = ""
    snapshotter: str = ""
    snapshot_key: str = ""
    options: Json | None = None
    labels: Labels | None = None
    wanted: Wanted = "stopped"
    auto_remove: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """A container: how it is to be run (`options`) and what state it is to be in (`wanted`)."""

    namespace: str
    id: str
    name: str
    image: str
    image_digest: str
    runtime: str
    snapshotter: str
    snapshot_key: str
    options: Json
    labels: Labels
    created_at: int
    updated_at: int
    wanted: Wanted
    auto_remove: bool


@dataclass(frozen=True, slots=True)
class Task:
    """The last known state of a container's process, as its actor reported it.

    `revision` orders the reports. It must keep growing over re-creations of the same container id; the
    time of the change in nanoseconds does. `exit_code` is None while none is known.
    """

    namespace: str
    container: str
    revision: int
    status: TaskStatus
    pid: int = 0
    started_at: int = 0
    exited_at: int = 0
    exit_code: int | None = None
    exit_reason: str = ""
    oom: bool = False
    error: str = ""
    health: str = ""
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """Keeps resources from the garbage collector until deleted or expired (None: never).

    `holder` is the actor whose it is, in that incarnation under that instance of the daemon; empty for
    anybody else's.
    """

    namespace: str
    id: str
    labels: Labels
    created_at: int
    expires_at: int | None
    holder: str = ""
    instance: str = ""
    incarnation: int = 0


@dataclass(frozen=True, slots=True)
class Resource:
    """What a lease holds: `type` is content, ingests, images or snapshots/SNAPSHOTTER."""

    type: str
    id: str


@dataclass(frozen=True, slots=True)
class Content:
    """That a namespace knows a blob, and the labels that it has put on it."""

    namespace: str
    digest: str
    labels: Labels
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Announcement:
    """An event to be journalled once by its key; `at` is when what it tells was recorded."""

    key: str
    namespace: str
    topic: str
    body: Json
    at: int
