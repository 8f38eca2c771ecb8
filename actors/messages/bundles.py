"""What a runtime is given: bundles."""

from dataclasses import dataclass

from actors.messages.declare import Json, SnapshotterName, operation


@operation("bundles.make", "bundles", repeatable=True)
@dataclass(frozen=True, slots=True)
class BundlesMake:
    """Make everything that the runtime needs to start a container: snapshot, network, mount, config.json.

    Answer: `stop_signal`, and in `volumes` whether it has any. What is there already is used or replaced.
    `runtime` is who will run it, if that is known: crun is given a filter that it has made before.
    `brief`: its root goes with its run, and need not be on disk before.
    """

    namespace: str
    id: str
    image: str
    image_digest: str
    options: Json
    name: str = ""
    snapshotter: SnapshotterName = ""
    runtime: str = ""
    brief: bool = False


@operation("bundles.expect", "bundles")
@dataclass(frozen=True, slots=True)
class BundlesExpect(BundlesMake):
    """Begin to make the bundle of a container that is on record by now, and whose actor will ask for it.

    A hint: answered at once with an empty answer, and lost with the actor; `bundles.make` of the same finds
    it made, or under way.
    """


@operation("bundles.spec", "bundles", repeatable=True)
@dataclass(frozen=True, slots=True)
class BundlesSpec:
    """What would be run: nothing is made that stays. Answer: `spec`, the runtime's specification.

    Everything that a start checks is checked. Volumes that are not there are not made, and shown by where
    they would be.
    """

    namespace: str
    id: str
    image: str
    image_digest: str
    options: Json
    snapshotter: SnapshotterName = ""
