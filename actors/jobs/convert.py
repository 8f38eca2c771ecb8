"""Convert: the same image with its layers compressed in another way, or with some of its platforms only.

Configs stay as they are, byte for byte: diff IDs do not change, and what is unpacked stays good.
"""

import json
from dataclasses import dataclass, field, replace
from typing import Any

from actors.jobs.context import Context
from actors.jobs.layers import copy_plain, make_layer
from actors.unpacking import check_counts
from storage.archive.layout import encode
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from storage.image.contents import Contents, Part
from storage.image.document import MAX_DOCUMENT_SIZE
from storage.image.media_types import FOREIGN_LAYERS, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from storage.layer.compress import COMPRESSIONS
from storage.reference import Reference


@dataclass(frozen=True, slots=True)
class ConvertWish:
    """What to convert.

    Attributes:
        compression: gzip, zstd or none.
        platforms: only these; all that are here when empty.
    """

    image: str
    target: str
    compression: str = "zstd"
    platforms: list[str] = field(default_factory=list)


def convert(context: Context, wish: ConvertWish) -> dict[str, Any]:
    """Make the converted image and name it; gives its record.

    Raises:
        NotFoundError: the image has nothing for a platform.
        FailedPreconditionError: it is not all here.
    """
    if wish.compression not in COMPRESSIONS:
        raise InvalidArgumentError(
            f"compression {wish.compression[:40]!r} is none of {', '.join(COMPRESSIONS)}"
        )
    target = str(Reference.parse(wish.target))
    _, root = context.image(wish.image)
    contents = context.contents(root)
    parts = _chosen(context, contents, wish.platforms)
    made = [_converted(context, part, wish.compression) for part in parts]
    if contents.parts[0].descriptor == root or (wish.platforms and len(made) == 1):
        found = replace(made[0], platform=None)
    else:
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [one.to_dict() for one in made]}
        found = context.keep_bytes(encode(index), OCI_INDEX)
    for part in context.contents(found).suiting(context.platform(""))[:1]:
        context.unpack(part)
    return context.name(target, found)


def _chosen(context: Context, contents: Contents, platforms: list[str]) -> list[Part]:
    """The images to convert: for each platform the best, or all."""
    if not platforms:
        found = [part for part in contents.parts if part.manifest.is_image and not context.missing(part)]
    else:
        found = []
        for text in platforms:
            suiting = contents.suiting(context.platform(text))[:1]
            if not suiting:
                raise NotFoundError(f"image {contents.root.digest} has nothing for {text} here")
            found += [part for part in suiting if part not in found]
    lacking = [one for part in found for one in context.missing(part)]
    if lacking or not found:
        what = f"blob {lacking[0].digest}" if lacking else "an image"
        raise FailedPreconditionError(f"image {contents.root.digest} lacks {what}: pull it first")
    return found


def _converted(context: Context, part: Part, compression: str) -> Descriptor:
    """One manifest over converted layers; all else in it stays."""
    diff_ids = context.config(part).diff_ids
    check_counts(part.manifest, diff_ids)  # nobody may have unpacked it
    layers = [
        _layer(context, layer, diff_id, compression)
        for layer, diff_id in zip(part.manifest.layers, diff_ids, strict=True)
    ]
    document = json.loads(context.store.read(part.descriptor.digest, MAX_DOCUMENT_SIZE))
    document["mediaType"] = OCI_MANIFEST
    document["config"] = replace(part.manifest.config, media_type=OCI_CONFIG).to_dict()
    document["layers"] = [layer.to_dict() for layer in layers]
    made = context.keep_bytes(encode(document), OCI_MANIFEST)
    return replace(made, platform=part.platform)


def _layer(context: Context, layer: Descriptor, diff_id: Digest, compression: str) -> Descriptor:
    if layer.media_type in FOREIGN_LAYERS:
        return layer

    def produce(put: Any) -> None:
        with context.store.open(layer.digest, verified=True) as blob:
            copy_plain(blob, put, context.limits)

    made, actual = make_layer(context, str(layer.digest), compression, produce)
    if actual != diff_id:
        text = f"layer {layer.digest} unpacks to {actual}, but the image says {diff_id}"
        raise InvalidArgumentError(text)
    return replace(made, annotations=layer.annotations)
