"""What containerd has on record of its images, from its metadata database (its metadata/buckets.go).

`v1/NAMESPACE/images/NAME` is a bucket with the name's target and its labels; sizes are Go's signed varints.
"""

import mmap
from dataclasses import dataclass, field
from typing import Final

from storage.archive.bolt import Bolt, Bucket
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.errors import InvalidArgumentError

DATABASE: Final = "io.containerd.metadata.v1.bolt/meta.db"
BLOBS: Final = "io.containerd.content.v1.content/blobs"
_VERSION, _IMAGES, _TARGET, _LABELS = b"v1", b"images", b"target", b"labels"


@dataclass(frozen=True, slots=True)
class Recorded:
    """An image by the name that containerd has for it, which need not be a reference."""

    name: str
    target: Descriptor
    labels: dict[str, str] = field(default_factory=dict)


def images(database: bytes | mmap.mmap) -> dict[str, list[Recorded]]:
    """The images of each namespace that has any.

    Raises:
        InvalidArgumentError: it is no database of containerd's, or is damaged.
    """
    namespaces = Bolt(database).root.bucket(_VERSION)
    if namespaces is None:
        raise InvalidArgumentError("database: it is not containerd's: it has no bucket v1")
    found = {}
    for name, one in namespaces.items():
        kept = one.bucket(_IMAGES) if isinstance(one, Bucket) else None
        recorded = [_recorded(key, image) for key, image in kept.items()] if kept else []
        if recorded:
            found[_text(name)] = recorded
    return found


def _recorded(key: bytes, image: bytes | Bucket) -> Recorded:
    name = _text(key)
    target = image.bucket(_TARGET) if isinstance(image, Bucket) else None
    if target is None or not isinstance(image, Bucket):
        raise InvalidArgumentError(f"database: image {name!a} has no target")
    labels = image.bucket(_LABELS)
    values = target.values()
    descriptor = Descriptor(
        _text(values.get(b"mediatype", b"")),
        Digest.parse(_text(values.get(b"digest", b""))),
        _varint(values.get(b"size", b"")),
    )
    texts = {_text(label): _text(text) for label, text in labels.values().items()} if labels else {}
    return Recorded(name, descriptor, texts)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"database: {raw[:80]!r} is not valid text") from error


def _varint(raw: bytes) -> int:
    """A number of Go's encoding/binary.Varint: seven bits a byte, zigzag."""
    number = 0
    for place, byte in enumerate(raw[:10]):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1)
    raise InvalidArgumentError(f"database: {raw[:16].hex()!a} is no number")
