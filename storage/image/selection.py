"""From a root descriptor to the one manifest that suits a platform, through indexes of indexes."""

from collections.abc import Callable, Iterator
from typing import Final

from storage.descriptor import Descriptor
from storage.errors import InvalidArgumentError, NotFoundError
from storage.image.manifest import Index, Manifest, parse_manifest
from storage.image.media_types import INDEXES, MANIFESTS
from storage.image.platform import Platform, preference

# Indexes in indexes, and documents read to find one image: nobody needs more, and a hostile tree ends here.
MAX_INDEX_DEPTH: Final = 8
MAX_DOCUMENTS: Final = 256

# Sorts after every platform that was stated and suits.
_UNSTATED: Final = (1_000_000, 0, 0)


def candidates(index: Index, wanted: Platform) -> list[Descriptor]:
    """The entries that may run on `wanted`, best first; among equals the first wins.

    Entries without a platform come last, as only looking inside shows what they are. Entries of other
    types than manifest and index are no error and no candidates.
    """
    ranked = []
    for entry in index.manifests:
        if entry.media_type not in MANIFESTS and entry.media_type not in INDEXES:
            continue
        rank = _UNSTATED if entry.platform is None else preference(wanted, entry.platform)
        if rank is not None:
            ranked.append((rank, entry))
    return [entry for _, entry in sorted(ranked, key=lambda pair: pair[0])]


def find_manifest(
    root: Descriptor, wanted: Platform, read: Callable[[Descriptor], bytes]
) -> tuple[Descriptor, Manifest]:
    """The manifest of the image below `root` that suits `wanted` best.

    `read` gives a document's verified bytes, and may fetch them first; only what is looked at is read.
    A root that is a manifest is taken whatever its platform.

    Raises:
        NotFoundError: Nothing suits; the error says what there is.
        InvalidArgumentError: A document on the way is malformed, or the indexes nest too deeply.
    """
    budget = iter(range(MAX_DOCUMENTS))
    offered: list[str] = []
    for descriptor, manifest in _walk(root, wanted, read, MAX_INDEX_DEPTH, budget, offered):
        if manifest.is_image or descriptor == root:
            return descriptor, manifest
    raise NotFoundError(
        f"image {root.digest} has nothing for {wanted}: it has {', '.join(offered[:32]) or 'no images'}"
    )


def _walk(
    descriptor: Descriptor,
    wanted: Platform,
    read: Callable[[Descriptor], bytes],
    depth: int,
    budget: Iterator[int],
    offered: list[str],
) -> Iterator[tuple[Descriptor, Manifest]]:
    if depth == 0 or next(budget, None) is None:
        raise InvalidArgumentError(
            f"index {descriptor.digest} nests more than {MAX_INDEX_DEPTH} levels or {MAX_DOCUMENTS} documents"
        )
    document = parse_manifest(read(descriptor), descriptor.media_type)
    if isinstance(document, Manifest):
        yield descriptor, document
        return
    offered.extend(str(entry.platform) for entry in document.manifests if entry.platform)
    for entry in candidates(document, wanted):
        yield from _walk(entry, wanted, read, depth - 1, budget, offered)
