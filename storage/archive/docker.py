"""manifest.json of Docker's archives: for each image a config, names, and the layers from the lowest up.

Source: Docker Engine API, "Image tarball format".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from storage.archive.layout import BLOBS, encode
from storage.archive.members import clean
from storage.descriptor import Descriptor
from storage.errors import InvalidArgumentError
from storage.image.document import optional_strings, parse_list, require_object, require_text
from storage.image.manifest import Manifest
from storage.image.media_types import OCI_CONFIG, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, OCI_MANIFEST
from storage.reference import Reference

MANIFEST_FILE: Final = "manifest.json"
LAYER_TYPES: Final = {"": OCI_LAYER, "gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}
MAX_IMAGES: Final = 1000
MAX_LAYERS: Final = 1000


@dataclass(frozen=True, slots=True)
class DockerImage:
    """One image: members of the archive by name, and its own canonical names."""

    config: str
    names: tuple[str, ...]
    layers: tuple[str, ...]


def parse_manifest_file(content: bytes) -> list[DockerImage]:
    """The images of a Docker archive.

    Raises:
        InvalidArgumentError: It is no strict JSON, too large, or has a field missing or malformed.
    """
    entries = parse_list(content, MANIFEST_FILE)
    if len(entries) > MAX_IMAGES:
        raise InvalidArgumentError(f"{MANIFEST_FILE} has more than {MAX_IMAGES} images")
    return [_image(require_object(entry, f"an image of {MANIFEST_FILE}")) for entry in entries]


def _image(entry: Mapping[str, Any]) -> DockerImage:
    layers = optional_strings(entry, "Layers", MANIFEST_FILE)
    if len(layers) > MAX_LAYERS:
        raise InvalidArgumentError(f"{MANIFEST_FILE} has an image of more than {MAX_LAYERS} layers")
    return DockerImage(
        config=clean(require_text(entry, "Config", MANIFEST_FILE)),
        names=tuple(str(Reference.parse(tag)) for tag in optional_strings(entry, "RepoTags", MANIFEST_FILE)),
        layers=tuple(clean(layer) for layer in layers),
    )


def build_manifest_file(images: Iterable[tuple[str, Manifest]]) -> bytes:
    """manifest.json for images, each by name; one that has several names stands there once."""
    tags: dict[str, list[str]] = {}
    entries: dict[str, dict[str, Any]] = {}
    for name, manifest in images:
        reference = Reference.parse(name)
        key = str(manifest.config.digest)
        entries[key] = {
            "Config": blob_name(manifest.config),
            "Layers": [blob_name(layer) for layer in manifest.layers],
        }
        tags.setdefault(key, []).extend([reference.familiar()] if reference.tag else [])
    return encode([{**entry, "RepoTags": tags[key] or None} for key, entry in entries.items()])


def blob_name(descriptor: Descriptor) -> str:
    """Where a layout has a blob."""
    return f"{BLOBS}/{descriptor.digest.algorithm}/{descriptor.digest.hex}"


def build_manifest(config: Descriptor, layers: Iterable[Descriptor]) -> bytes:
    """An OCI manifest over a config and its layers."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.to_dict() | {"mediaType": OCI_CONFIG},
        "layers": [layer.to_dict() for layer in layers],
    }
    return encode(document)
