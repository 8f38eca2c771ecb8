"""What the documents of an OCI layout say: its version, and which images it has under which names.

Sources: OCI image-spec, "Image Layout"; annotations.md has the grammar of ref.name, wider than a
reference's. `io.containerd.image.name` is containerd's, and Docker's, full name.
"""

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from storage.descriptor import Descriptor
from storage.errors import InvalidArgumentError
from storage.image.document import parse_document, require_text
from storage.image.manifest import Index, parse_manifest
from storage.image.media_types import INDEXES, MANIFESTS, OCI_INDEX
from storage.reference import Reference

BLOBS: Final = "blobs"
HEADER_FILE: Final = "oci-layout"
INDEX_FILE: Final = "index.json"
REF_NAME: Final = "org.opencontainers.image.ref.name"
FULL_NAME: Final = "io.containerd.image.name"
_WHOLE: Final = re.compile("[:/@]")
HEADER: Final = b'{"imageLayoutVersion":"1.0.0"}'


@dataclass(frozen=True, slots=True)
class Named:
    """An image of an archive: its canonical name and what it points at."""

    name: str
    target: Descriptor


def check_header(content: bytes) -> None:
    """Refuse a layout of another version than 1. InvalidArgumentError."""
    version = require_text(parse_document(content, HEADER_FILE), "imageLayoutVersion", HEADER_FILE)
    if not version.startswith("1."):
        raise InvalidArgumentError(f"{HEADER_FILE} has version {version[:80]!r}: only 1 is known")


def parse_index(content: bytes, base: str) -> list[Named]:
    """The images that index.json names; `base` is the name of those that have only a tag, or none.

    Raises:
        InvalidArgumentError: It is no index, has a malformed name, or one name for two images.
    """
    index = parse_manifest(content, OCI_INDEX)
    if not isinstance(index, Index):
        raise InvalidArgumentError(f"{INDEX_FILE} is no index")
    found: dict[str, Descriptor] = {}
    for entry in index.manifests:
        if entry.media_type not in MANIFESTS | INDEXES:
            continue  # unknown types are no error
        name = _name(entry, base)
        if found.setdefault(name, entry).digest != entry.digest:
            raise InvalidArgumentError(f"{INDEX_FILE} has two images named {name}")
    return [Named(name, _plain(entry)) for name, entry in found.items()]


def _name(entry: Descriptor, base: str) -> str:
    full, ref = entry.annotations.get(FULL_NAME, ""), entry.annotations.get(REF_NAME, "")
    return str(Reference.parse(full or _by_ref(base, ref) or f"{base}@{entry.digest}"))


def _by_ref(base: str, ref: str) -> str:
    """The reference for a ref.name: umoci and skopeo write the tag alone, others a whole name.

    What the layout allows and a tag does not becomes `_`, as Helm has it for the `+` of a version.
    """
    name = ref.replace("+", "_")
    if _WHOLE.search(name):
        with suppress(InvalidArgumentError):
            return str(Reference.parse(name))
    return f"{base}:{_WHOLE.sub('_', name)}" if name else ""


def _plain(entry: Descriptor) -> Descriptor:
    """Without the names: those belong to index.json alone (image-spec, "annotations")."""
    kept = {key: value for key, value in entry.annotations.items() if key not in (REF_NAME, FULL_NAME)}
    return replace(entry, annotations=kept)


def build_index(images: Iterable[Named]) -> bytes:
    """index.json for these images."""
    entries = []
    for image in images:
        reference = Reference.parse(image.name)
        names = {FULL_NAME: image.name, REF_NAME: reference.tag or image.name}
        named = replace(image.target, annotations={**image.target.annotations, **names})
        entries.append(named.to_dict())
    return encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})


def encode(document: Any) -> bytes:
    """JSON whose bytes depend on nothing but what it says."""
    return json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
