"""Named volumes: volumes."""

from dataclasses import dataclass, field

from actors.messages.declare import Labels, operation


@operation("volumes.create", "volumes", repeatable=True)
@dataclass(frozen=True, slots=True)
class VolumesCreate:
    """Make a volume, or find it made. Durable when answered.

    Answer: the volume (name, labels, owner, created_at, settled), `path` of its content, and `seed`, where
    `container` may put its first content while it is not settled.

    Attributes:
        owner: the container that it goes with; empty for none.
        container: the container that is about to use it.
    """

    namespace: str
    name: str
    labels: Labels = field(default_factory=dict)
    owner: str = ""
    container: str = ""


@operation("volumes.settle", "volumes", repeatable=True)
@dataclass(frozen=True, slots=True)
class VolumesSettle:
    """What `container` has put at `seed` becomes the content, unless another container was first."""

    namespace: str
    name: str
    container: str


@operation("volumes.get", "volumes", repeatable=True)
@dataclass(frozen=True, slots=True)
class VolumesGet:
    """Answer: as `volumes.create`, and `used_by`, the names of the containers that mount it."""

    namespace: str
    name: str


@operation("volumes.list", "volumes", repeatable=True)
@dataclass(frozen=True, slots=True)
class VolumesList:
    """Answer: `volumes`, each as `volumes.get` gives it. An empty namespace means every one.

    With `page`: as many as a message holds, and `next`, to be asked for as `after`; empty with the last.
    """

    namespace: str = ""
    page: bool = False
    after: str = ""


@operation("volumes.remove", "volumes", repeatable=True)
@dataclass(frozen=True, slots=True)
class VolumesRemove:
    """Remove a volume and its content. Refused while a container mounts it; one that is gone is no error.

    Its files are deleted afterwards.
    """

    namespace: str
    name: str


@operation("volumes.prune", "volumes", repeatable=True)
@dataclass(frozen=True, slots=True)
class VolumesPrune:
    """Remove every volume that no container mounts. Answer: `removed`, their names."""

    namespace: str


@operation("volumes.forget", "volumes", repeatable=True)
@dataclass(frozen=True, slots=True)
class VolumesForget:
    """Remove the volumes that belong to a container: said by its actor when it is removed."""

    namespace: str
    owner: str
