"""Images and namespaces: metadata."""

from dataclasses import dataclass, field

from actors.messages.declare import Json, Labels, operation


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
    """Forget a name. Refused while a container uses the image, unless forced. Answer: the image.

    What nothing else refers to is collected soon afterwards; with `sync`, before the answer.
    """

    namespace: str
    name: str
    force: bool = False
    sync: bool = False


@operation("namespaces.list", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class NamespacesList:
    """Answer: `namespaces`, each with name and labels."""
