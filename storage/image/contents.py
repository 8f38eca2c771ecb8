"""Everything below an image's root that is here, and what is not: to save, load, check or convert it."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from storage.descriptor import Descriptor
from storage.errors import InvalidArgumentError
from storage.image.manifest import Manifest, parse_manifest
from storage.image.media_types import INDEXES, MANIFESTS
from storage.image.platform import Platform, preference
from storage.image.selection import MAX_INDEX_DEPTH

# Of all documents of one image together: of each alone, the size is bounded (document.py). Each but the root
# is named by another, so their number is bounded too.
MAX_CHILDREN: Final = 1 << 16
MAX_BYTES: Final = 64 << 20

Read = Callable[[Descriptor], bytes | None]
"""The verified bytes of a document, None when it is not here."""


@dataclass(frozen=True, slots=True)
class Part:
    """One manifest below a root. `platform` is what the index says of it, None when nothing does."""

    descriptor: Descriptor
    manifest: Manifest
    platform: Platform | None


@dataclass(slots=True)
class Contents:
    """What was found below `root`: documents in the order they were met, manifests, and documents missing."""

    root: Descriptor
    documents: list[Descriptor] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    absent: list[Descriptor] = field(default_factory=list)

    def blobs(self) -> Iterator[Descriptor]:
        """Each blob that these documents are and name, once."""
        known = set()
        for one in [*self.documents, *(child for part in self.parts for child in part.manifest.children())]:
            if one.digest not in known:
                known.add(one.digest)
                yield one

    def suiting(self, wanted: Platform) -> list[Part]:
        """The images that may run on `wanted`, best first; those that state no platform come last."""
        ranked = []
        for part in self.parts:
            if part.manifest.is_image:
                rank = (999, 0, 0) if part.platform is None else preference(wanted, part.platform)
                if rank is not None:
                    ranked.append((rank, part))
        return [part for _, part in sorted(ranked, key=lambda pair: pair[0])]


def walk(root: Descriptor, read: Read) -> Contents:
    """Read all documents below `root` that are here.

    Raises:
        InvalidArgumentError: One is malformed, or there are more or deeper ones than any image has.
    """
    contents = Contents(root)
    budget = _Budget(root)
    seen = {root.digest}
    pending = deque([(root, 0)] if _is_document(root) else [])
    while pending:
        descriptor, depth = pending.popleft()
        content = read(descriptor)
        if content is None:
            contents.absent.append(descriptor)
            continue
        document = parse_manifest(content, descriptor.media_type)
        budget.spend(len(content), len(document.children()))
        contents.documents.append(descriptor)
        if isinstance(document, Manifest):
            contents.parts.append(Part(descriptor, document, descriptor.platform))
            continue
        for entry in document.manifests:
            if _is_document(entry) and entry.digest not in seen:
                budget.check_depth(depth + 1)
                seen.add(entry.digest)
                pending.append((entry, depth + 1))
    return contents


def _is_document(descriptor: Descriptor) -> bool:
    return descriptor.media_type in MANIFESTS | INDEXES


class _Budget:
    """What the documents of one image may take, those that are here: the others cost nothing."""

    def __init__(self, root: Descriptor) -> None:
        self._root = root
        self._bytes = self._children = 0

    def check_depth(self, depth: int) -> None:
        if depth > MAX_INDEX_DEPTH:
            raise self._refused(f"nests more than {MAX_INDEX_DEPTH} levels")

    def spend(self, size: int, children: int) -> None:
        self._bytes += size
        self._children += children
        if self._children > MAX_CHILDREN or self._bytes > MAX_BYTES:
            raise self._refused(f"names more than {MAX_CHILDREN} blobs, or takes {MAX_BYTES} bytes to do so")

    def _refused(self, why: str) -> InvalidArgumentError:
        return InvalidArgumentError(f"image {self._root.digest} {why}")
