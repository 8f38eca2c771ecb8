"""Descriptors: how one blob refers to another (OCI image-spec, "Content Descriptors")."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from storage.digest import Digest
from storage.errors import InvalidArgumentError
from storage.image.document import (
    optional_strings,
    optional_text,
    optional_text_map,
    require_object,
    require_text,
)
from storage.image.platform import Platform

MAX_SIZE: Final = 2**63 - 1

# RFC 6838, section 4.2: type and subtype, without parameters.
_MEDIA_TYPE: Final = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Type, digest and size of a blob, and what else its referrer says about it.

    `data` is the blob itself when the referrer carries it; it has been verified. Sizes are bytes.
    """

    media_type: str
    digest: Digest
    size: int
    urls: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    data: bytes | None = None
    artifact_type: str | None = None
    platform: Platform | None = None

    @classmethod
    def from_dict(cls, value: object) -> Self:
        """Read a descriptor. Unknown fields are ignored; null stands for an optional field left out.

        Raises:
            InvalidArgumentError: A field is missing, has the wrong type or breaks its grammar, the size is
                out of range, or `data` does not have the digest and size stated beside it.
        """
        fields = require_object(value, "descriptor")
        digest = Digest.parse(require_text(fields, "digest", "descriptor"))
        what = f"descriptor of {digest}"
        size = _size(fields.get("size"), what)
        platform = fields.get("platform")
        return cls(
            media_type=_media_type(require_text(fields, "mediaType", what), what),
            digest=digest,
            size=size,
            urls=optional_strings(fields, "urls", what),
            annotations=optional_text_map(fields, "annotations", what),
            data=_data(optional_text(fields, "data", what), digest, size),
            artifact_type=read_artifact_type(fields, what),
            platform=None if platform is None else Platform.from_dict(platform),
        )

    def to_dict(self) -> dict[str, Any]:
        """The same with OCI's key names, ready for JSON, without what is empty."""
        optional: dict[str, Any] = {
            "urls": list(self.urls),
            "annotations": dict(self.annotations),
            "data": base64.b64encode(self.data).decode("ascii") if self.data else None,
            "artifactType": self.artifact_type,
            "platform": self.platform.to_dict() if self.platform else None,
        }
        required: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        return required | {name: value for name, value in optional.items() if value}


def read_artifact_type(fields: Mapping[str, Any], what: str) -> str | None:
    """The `artifactType` of a descriptor, manifest or index; None when missing, null or empty.

    Raises:
        InvalidArgumentError: It is no media type.
    """
    text = optional_text(fields, "artifactType", what)
    return _media_type(text, what) if text else None


def _media_type(text: str, what: str) -> str:
    if not _MEDIA_TYPE.fullmatch(text):
        raise InvalidArgumentError(f"{what} has malformed media type {text[:80]!r}: expected type/subtype")
    return text


def _size(value: object, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidArgumentError(f"{what} has no whole number in 'size'")
    if not 0 <= value <= MAX_SIZE:
        raise InvalidArgumentError(f"{what} has a size outside 0 to 2^63-1")
    return value


def _data(text: str, digest: Digest, size: int) -> bytes | None:
    if not text:
        return None
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgumentError(f"descriptor of {digest} has data that is not base64") from error
    if len(content) != size:
        raise InvalidArgumentError(f"descriptor of {digest} has {len(content)} bytes of data, not {size}")
    actual = Digest.of(content, digest.algorithm)
    if actual != digest:
        raise InvalidArgumentError(f"descriptor of {digest} has data with digest {actual}")
    return content
