"""Images and namespaces: metadata."""

from dataclasses import dataclass, field

from actors.messages.declare import Json, Labels, operation


@operation("images.get", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ImagesGet:
    """Answer: name, target (a descriptor), labels, created_at, updated_at.

    Attributes:
        exact: the name is as it is on record, and not as people type it; so in the operations below.
    """

    namespace: str
    name: str
    exact: bool = False


@operation("images.list", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ImagesList:
    """Answer: `images`, each as `images.get` gives it.

    With `page`: as many as a message holds, and `next`, to be asked for as `after`; empty with the last.
    """

    namespace: str
    page: bool = False
    after: str = ""


@operation("images.put", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ImagesPut:
    """Create or update. Answer: the image."""

    namespace: str
    name: str
    target: Json
    labels: Labels = field(default_factory=dict)
    exact: bool = False


@operation("images.create", "metadata")
@dataclass(frozen=True, slots=True)
class ImagesCreate:
    """Make exactly this name; one that there is already is refused. Answer: the image."""

    namespace: str
    name: str
    target: Json
    labels: Labels = field(default_factory=dict)


@operation("images.update", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class ImagesUpdate:
    """Change exactly this name, which is there. Answer: the image.

    Attributes:
        target: null to leave it.
        labels: null to leave them.
        fields: which (`labels.KEY`), one without a value is taken away; none, or `labels`: all are replaced.
    """

    namespace: str
    name: str
    target: Json | None = None
    labels: Labels | None = None
    fields: list[str] = field(default_factory=list)


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
    exact: bool = False


@operation("namespaces.list", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class NamespacesList:
    """Answer: `namespaces`, each with name and labels."""


@operation("namespaces.create", "metadata")
@dataclass(frozen=True, slots=True)
class NamespacesCreate:
    """Make a namespace; any write into one makes it too. Answer: name and labels."""

    name: str
    labels: Labels = field(default_factory=dict)


@operation("namespaces.ensure", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class NamespacesEnsure:
    """Have it on record, as any write into it that metadata hears of does; nobody is told."""

    name: str


@operation("namespaces.update", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class NamespacesUpdate:
    """Change its labels; any write into a namespace makes it. Answer: name and labels.

    Attributes:
        fields: which (`labels.KEY`); none, or `labels`: all are replaced.
    """

    name: str
    labels: Labels = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)


@operation("namespaces.delete", "metadata")
@dataclass(frozen=True, slots=True)
class NamespacesDelete:
    """Delete an empty namespace; the error says what is left in one, its snapshots and volumes too.

    Leases of clients go with it.
    """

    name: str
