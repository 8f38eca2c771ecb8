"""Manifests and indexes: what an image refers to.

The values here are views; whoever stores or sends a document keeps its original bytes, as its digest is
over those. Sources: OCI image-spec, "Image Manifest" and "Image Index"; Docker's schema 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from storage.descriptor import Descriptor, read_artifact_type
from storage.errors import InvalidArgumentError
from storage.image.document import (
    optional_list,
    optional_text,
    optional_text_map,
    parse_document,
)
from storage.image.media_types import (
    IMAGE_CONFIGS,
    INDEXES,
    MANIFESTS,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_MANIFEST,
    SCHEMA1,
)

# Fields that only the other kind has: a document with both would be two images (CVE-2021-41190).
_FOREIGN_FIELDS: Final = {"manifest": ("manifests", "fsLayers"), "index": ("layers", "config", "fsLayers")}


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image, or one artifact. `subject` is what it is about: a weak reference, which nothing follows."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    artifact_type: str | None = None
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def is_image(self) -> bool:
        """Whether it can be run. The config of anything else is opaque and never parsed."""
        return self.config.media_type in IMAGE_CONFIGS

    def children(self) -> list[Descriptor]:
        """The config, then the layers from the lowest up."""
        return [self.config, *self.layers]


@dataclass(frozen=True, slots=True)
class Index:
    """A choice of manifests, and of further indexes, in order of preference."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    artifact_type: str | None = None
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    def children(self) -> list[Descriptor]:
        """What there is to choose from, in order."""
        return list(self.manifests)


def parse_manifest(
    content: bytes, media_type: str | None = None, *, by_digest: bool = True
) -> Manifest | Index:
    """Read a manifest or index of OCI or Docker.

    `media_type` is what its descriptor or the registry said it is. A descriptor, which came with the
    digest, is believed whatever the document says of itself. With `by_digest` false (a tag was asked for)
    nobody vouches for the type, and the two must agree. None takes the document's own word.

    Raises:
        InvalidArgumentError: It is larger than 4 MiB, no strict JSON, of no known type, of Docker's
            schema 1, of two types at once, or lacks what its type requires.
    """
    document = parse_document(content, "manifest")
    stated = optional_text(document, "mediaType", "manifest")
    if media_type and stated and stated != media_type and not by_digest:
        raise InvalidArgumentError(
            f"manifest says it is {stated[:200]!r} but was sent as {media_type[:200]!r}"
        )
    actual = media_type or stated or _guess_type(document)
    if actual in SCHEMA1 or document.get("schemaVersion") == 1:
        raise InvalidArgumentError("manifest has docker's schema 1, which is obsolete: push the image again")
    if actual in INDEXES:
        return _index(document, actual)
    if actual in MANIFESTS:
        return _manifest(document, actual)
    raise InvalidArgumentError(f"manifest has type {actual[:200]!r}: expected a manifest or index")


def children(media_type: str, content: bytes) -> list[Descriptor]:
    """What a blob refers to: a manifest's config and layers, an index's manifests, nothing for all else.

    Raises:
        InvalidArgumentError: The type is one of those and the content is not what it says.
    """
    if media_type in INDEXES or media_type in MANIFESTS or media_type in SCHEMA1:
        return parse_manifest(content, media_type).children()
    return []


def _guess_type(document: Mapping[str, Any]) -> str:
    """OCI made mediaType optional, so the fields decide; what has both is refused further on."""
    if "manifests" in document:
        return OCI_INDEX
    return OCI_MANIFEST if "config" in document or "layers" in document else ""


def _manifest(document: Mapping[str, Any], media_type: str) -> Manifest:
    _check_kind(document, "manifest")
    config = Descriptor.from_dict(document.get("config"))
    artifact_type = read_artifact_type(document, "manifest")
    if config.media_type == OCI_EMPTY and artifact_type is None:
        raise InvalidArgumentError("manifest has an empty config and so requires 'artifactType'")
    return Manifest(
        media_type=media_type,
        config=config,
        layers=_descriptors(document, "layers", "manifest"),
        artifact_type=artifact_type,
        subject=_subject(document),
        annotations=optional_text_map(document, "annotations", "manifest"),
    )


def _index(document: Mapping[str, Any], media_type: str) -> Index:
    _check_kind(document, "index")
    return Index(
        media_type=media_type,
        manifests=_descriptors(document, "manifests", "index"),
        artifact_type=read_artifact_type(document, "index"),
        subject=_subject(document),
        annotations=optional_text_map(document, "annotations", "index"),
    )


def _check_kind(document: Mapping[str, Any], kind: str) -> None:
    version = document.get("schemaVersion")
    if version != 2 or isinstance(version, float):
        raise InvalidArgumentError(f"{kind} does not have schemaVersion 2")
    for name in _FOREIGN_FIELDS[kind]:
        if document.get(name) is not None:
            raise InvalidArgumentError(f"{kind} also has {name!r}: a document of two kinds is refused")


def _descriptors(document: Mapping[str, Any], name: str, kind: str) -> tuple[Descriptor, ...]:
    """A list that must be there; writers in Go put null for an empty one."""
    if name not in document:
        raise InvalidArgumentError(f"{kind} has no {name!r}")
    return optional_list(document, name, kind, Descriptor.from_dict)


def _subject(document: Mapping[str, Any]) -> Descriptor | None:
    value = document.get("subject")
    return None if value is None else Descriptor.from_dict(value)
