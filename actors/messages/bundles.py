"""What a runtime is given: bundles."""

from dataclasses import dataclass

from actors.messages.declare import Json, operation


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
    name: str = ""
