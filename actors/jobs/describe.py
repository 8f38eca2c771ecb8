"""What an image is: its documents, its history, whether it is whole, what it takes, and how to mount it."""

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from actors import messages as m
from actors.jobs.context import Context
from actors.paging import everything
from storage.collection.labels import ROOT
from storage.descriptor import Descriptor
from storage.errors import StorageError
from storage.image.chain import chain_ids
from storage.image.contents import Contents, Part
from storage.image.document import MAX_DOCUMENT_SIZE
from storage.layer.compression import READ_BYTES


@dataclass(frozen=True, slots=True)
class ImageWish:
    """Which image, for which platform (the host's when empty)."""

    image: str
    platform: str = ""


@dataclass(frozen=True, slots=True)
class CheckWish:
    """Which image to check; `deep` reads every byte again."""

    image: str
    deep: bool = False


@dataclass(frozen=True, slots=True)
class MountWish:
    """Which image to mount, and for what place: that names the snapshot which holds it."""

    image: str
    place: str
    platform: str = ""


def inspect(context: Context, wish: ImageWish) -> dict[str, Any]:
    """Name, root, manifest and config as they stand, and the layers with their snapshots."""
    name, root = context.image(wish.image)
    contents = context.contents(root)
    images = any(part.manifest.is_image for part in contents.parts)
    part = context.chosen(root, wish.platform) if images or not contents.parts else contents.parts[0]
    found = {
        "name": name,
        "target": root.to_dict(),
        "digest": str(part.descriptor.digest),
        "manifest": _carried(context.store.read(part.descriptor.digest, MAX_DOCUMENT_SIZE)),
    }
    if not part.manifest.is_image:
        return found
    config = _carried(context.store.read(part.manifest.config.digest, MAX_DOCUMENT_SIZE))
    chain = [str(one) for one in chain_ids(context.config(part).diff_ids)]
    return {**found, "config": config, "chain_ids": chain}


def _carried(content: bytes) -> Any:
    """A document as a message carries it: of numbers beyond 64 bits, which JSON may have, about as much."""

    def number(text: str) -> int | float:
        exact = int(text)
        return exact if -(1 << 63) <= exact < 1 << 64 else float(text)

    return json.loads(content, parse_int=number)


def history(context: Context, wish: ImageWish) -> dict[str, Any]:
    """`history`, the latest first: created, created_by, comment, and the layer's digest and size, if one."""
    _, root = context.image(wish.image)
    part = context.chosen(root, wish.platform)
    context.config(part)  # refuses what is no history
    config = json.loads(context.store.read(part.manifest.config.digest, MAX_DOCUMENT_SIZE))
    layers = list(part.manifest.layers)
    rows: list[dict[str, Any]] = []
    for step in config.get("history") or [{}] * len(layers):
        one = step or {}
        row: dict[str, Any] = {
            key: str(one.get(key) or "") for key in ("created", "created_by", "comment", "author")
        }
        if not one.get("empty_layer") and layers:
            layer = layers.pop(0)
            row |= {"digest": str(layer.digest), "size": layer.size}
        rows.append(row)
    rows += [{"digest": str(layer.digest), "size": layer.size} for layer in layers]
    return {"history": rows[::-1]}


def check(context: Context, wish: CheckWish) -> dict[str, Any]:
    """Whether it is all here: `complete`, `missing`, `damaged`, `unpacked`, and the platforms that are."""
    name, root = context.image(wish.image)
    contents = context.contents(root)
    whole = [part for part in contents.parts if not context.missing(part)]
    missing = [*contents.absent, *(one for part in contents.parts for one in context.missing(part))]
    damaged = [str(blob.digest) for blob in contents.blobs() if wish.deep and _is_damaged(context, blob)]
    suiting = [part for part in contents.suiting(context.platform("")) if part in whole]
    return {
        "name": name,
        "complete": bool(suiting or (whole and not missing)) and not damaged,
        "missing": [str(one.digest) for one in missing],
        "damaged": damaged,
        "unpacked": bool(suiting) and _is_unpacked(context, suiting[0]),
        "platforms": [str(part.platform) for part in whole if part.platform],
    }


def _is_damaged(context: Context, blob: Descriptor) -> bool:
    if not context.store.has(blob.digest):
        return False  # it is missing, and said to be
    try:
        with context.store.open(blob.digest, verified=True) as stream:
            while stream.read(READ_BYTES):
                pass
    except StorageError:
        return True
    return context.store.info(blob.digest).size != blob.size


def _is_unpacked(context: Context, part: Part) -> bool:
    chain = chain_ids(context.config(part).diff_ids)
    return not chain or context.unpacker.is_unpacked(str(chain[-1]))


def usage(context: Context, wish: ImageWish) -> dict[str, Any]:
    """What its blobs take, and what of that no other image of the namespace has. Bytes."""
    name, root = context.image(wish.image)
    own = _sizes(context, context.contents(root))
    others: set[str] = set()
    for one in everything(context.call, m.ImagesList(context.namespace), "images"):
        if one["name"] != name:
            with suppress(StorageError):  # what is damaged of others is their affair
                others |= _sizes(context, context.contents(Descriptor.from_dict(one["target"]))).keys()
    unique = sum(size for digest, size in own.items() if digest not in others)
    return {"name": name, "blobs": len(own), "size": sum(own.values()), "unique": unique}


def _sizes(context: Context, contents: Contents) -> dict[str, int]:
    here = [blob for blob in contents.blobs() if context.store.has(blob.digest)]
    return {str(blob.digest): blob.size for blob in here}


def prepare_mount(context: Context, wish: MountWish) -> dict[str, Any]:
    """Make the snapshot behind a mount; gives `mounts`, to be performed by the client, and its `key`."""
    _, root = context.image(wish.image)
    chain = context.unpack(context.chosen(root, wish.platform))
    key = f"mount {wish.place}"
    stays = {ROOT: "mounted"}  # nothing but the mount refers to it
    place = context.call(m.SnapshotsPrepare(context.namespace, key, chain, stays))
    return {"mounts": place["mounts"], "key": key}
