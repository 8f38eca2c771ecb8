"""Everything below an image's root that is here, and what is not: to save, load, check or convert it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from storage.descriptor import Descriptor
from storage.errors import InvalidArgumentError
from storage.image.manifest import Index, Manifest, parse_manifest
from storage.image.media_types import INDEXES, MANIFESTS
from storage.image.platform import Platform, preference
from storage.image.selection import MAX_DOCUMENTS, MAX_INDEX_DEPTH

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
    seen = set()
    pending = [(root, 0)]
    while pending:
        descriptor, depth = pending.pop(0)
        if descriptor.digest in seen or descriptor.media_type not in MANIFESTS | INDEXES:
            continue
        seen.add(descriptor.digest)
        if depth > MAX_INDEX_DEPTH or len(seen) > MAX_DOCUMENTS:
            text = f"nests more than {MAX_INDEX_DEPTH} levels or {MAX_DOCUMENTS} documents"
            raise InvalidArgumentError(f"image {root.digest} {text}")
        document = _parsed(descriptor, read, contents)
        if isinstance(document, Manifest):
            contents.parts.append(Part(descriptor, document, descriptor.platform))
        elif document is not None:
            pending += [(entry, depth + 1) for entry in document.manifests]
    return contents


def _parsed(descriptor: Descriptor, read: Read, contents: Contents) -> Manifest | Index | None:
    content = read(descriptor)
    if content is None:
        contents.absent.append(descriptor)
        return None
    contents.documents.append(descriptor)
    return parse_manifest(content, descriptor.media_type)
