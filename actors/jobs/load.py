"""Load: images from an OCI layout (tar or directory) or a Docker archive into the store.

One pass over the archive: each blob goes into an ingest as it comes and is committed when its digest is
right; the few documents are kept in memory, bounded. Then the images are looked at, unpacked and named.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from actors.jobs.context import Context
from actors.jobs.lent import LentStream, is_directory
from actors.linux.borrow import Lent
from actors.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from storage.archive.docker import (
    LAYER_TYPES,
    MANIFEST_FILE,
    DockerImage,
    build_manifest,
    parse_manifest_file,
)
from storage.archive.layout import HEADER_FILE, INDEX_FILE, Named, check_header, parse_index
from storage.archive.members import LIMITS, Member, directory_members, tar_members
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.errors import InvalidArgumentError
from storage.image.config import parse_config
from storage.image.document import MAX_DOCUMENT_SIZE
from storage.image.media_types import OCI_CONFIG, OCI_MANIFEST
from storage.layer.compression import open_blob
from storage.reference import Reference

_DOCUMENTS: Final = (HEADER_FILE, INDEX_FILE, MANIFEST_FILE)
_LEGACY: Final = ("repositories", "VERSION", "json")  # of Docker's oldest archives; nothing in them is needed
_MAX_LINKS: Final = 10_000
_OPAQUE: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class LoadWish:
    """What to load.

    Attributes:
        source: the client's descriptor: a file, a pipe, or a directory with a layout.
        base: the name of images that have only a tag in the archive, or none.
        platform: which image of an index to unpack; the host's when empty.
        only_base: leave out images of other names than `base`.
        unnamed: name those without any by `base` and their digest; else they are left out.
        digests: name each by `base` and its digest, too.
    """

    source: Lent
    base: str = "localhost/loaded"
    platform: str = ""
    unpack: bool = True
    only_base: bool = False
    unnamed: bool = True
    digests: bool = False

    def named(self, found: list[Named]) -> list[Named]:
        """Those of an archive's images that are wished for, by all the names that they are to have."""
        base = str(Reference.parse(f"{self.base}:tag")).removesuffix(":tag")
        own = {f"{base}@{one.target.digest}": one.target for one in found}
        kept = {one.name: one.target for one in found if self.unnamed or one.name not in own}
        if self.only_base:
            kept = {name: kept[name] for name in kept if name.startswith((f"{base}:", f"{base}@"))}
        return [Named(name, target) for name, target in (kept | (own if self.digests else {})).items()]


def load(context: Context, wish: LoadWish) -> dict[str, Any]:
    """Load all images of an archive; gives `images`, each with name, digest, and whether it was unpacked.

    Raises:
        InvalidArgumentError: it is no archive of images, hostile, or lacks what its images name.
    """
    Reference.parse(f"{wish.base}:tag")
    platform = context.platform(wish.platform)
    intake = _Intake(context)
    fd = context.borrow(wish.source)
    try:
        for member in _members(fd):
            intake.take(member)
    finally:
        os.close(fd)
    found = wish.named(intake.images(wish.base))
    if not found:
        raise InvalidArgumentError("archive: it names no image")
    wanted = platform if wish.unpack else None
    unpacked = {one.name: prepared(context, one, wanted, intake.digests) for one in found}
    images = []
    for one in found:
        context.moved(one.name, "done")
        image = context.name(one.name, one.target)
        images.append(
            {"name": image["name"], "digest": str(one.target.digest), "unpacked": unpacked[one.name]}
        )
    return {"images": images}


def _members(fd: int) -> Iterator[Member]:
    if is_directory(fd):
        return directory_members(fd, _open_beneath)
    return tar_members(LentStream(fd))


def _open_beneath(root: int, path: str, flags: int) -> int:
    return openat2(root, path, flags, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)


class _Intake:
    """What has come out of an archive so far."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._documents: dict[str, bytes] = {}
        self._files: dict[str, Descriptor] = {}
        self._links: dict[str, str] = {}

    def take(self, member: Member) -> None:
        """Keep one file: a document in memory, all else as a blob."""
        if member.name in self._documents or (member.digest is None and member.name in self._files):
            raise InvalidArgumentError(f"archive: {member.name!a} stands in it twice")
        if member.link:
            self._links[member.name] = member.link
            if len(self._links) > _MAX_LINKS:
                raise InvalidArgumentError(f"archive: more than {_MAX_LINKS} links")
        elif member.name in _DOCUMENTS:
            self._documents[member.name] = _bounded(member)
        elif member.digest is not None:
            found = Descriptor(_OPAQUE, member.digest, member.size)
            self._context.keep(found, member.body)
            self._files[member.name] = found
        elif member.name.rpartition("/")[2] not in _LEGACY:
            self._files[member.name] = self._stored(member)

    @property
    def digests(self) -> set[Digest]:
        """The blobs that were in it."""
        return {one.digest for one in self._files.values()}

    def _stored(self, member: Member) -> Descriptor:
        def produce(write: Any) -> None:
            for piece in member.body:
                write(piece)

        return self._context.keep_unknown(member.name, LIMITS.total_bytes, _OPAQUE, produce)

    def images(self, base: str) -> list[Named]:
        """The images of the archive: those of the layout, or else Docker's."""
        if INDEX_FILE in self._documents:
            check_header(self._documents.get(HEADER_FILE, b"{}"))
            return parse_index(self._documents[INDEX_FILE], base)
        if MANIFEST_FILE not in self._documents:
            raise InvalidArgumentError(
                f"archive: no {INDEX_FILE} or {MANIFEST_FILE}: neither oci's nor docker's"
            )
        found: dict[str, Named] = {}
        for image in parse_manifest_file(self._documents[MANIFEST_FILE]):
            target = self._manifest(image)
            names = image.names or (str(Reference.parse(f"{base}@{target.digest}")),)
            found |= {name: Named(name, target) for name in names}
        return list(found.values())

    def _manifest(self, image: DockerImage) -> Descriptor:
        """An OCI manifest for one of Docker's images."""
        config = self._file(image.config)
        if config.size > MAX_DOCUMENT_SIZE:
            raise InvalidArgumentError(f"archive: config {image.config!a} has {config.size} bytes, too many")
        parse_config(self._context.store.read(config.digest, MAX_DOCUMENT_SIZE), OCI_CONFIG)
        layers = [self._typed(self._file(name)) for name in image.layers]
        return self._context.keep_bytes(build_manifest(config, layers), OCI_MANIFEST)

    def _typed(self, layer: Descriptor) -> Descriptor:
        with self._context.store.open(layer.digest) as blob:
            compression = open_blob(blob).compression
        return Descriptor(LAYER_TYPES[compression], layer.digest, layer.size)

    def _file(self, name: str) -> Descriptor:
        """A file of the archive by its name, or by that of a link to it."""
        target = name
        for _ in range(16):
            if target in self._files:
                return self._files[target]
            target = self._links.get(target, "")
        raise InvalidArgumentError(f"archive: {MANIFEST_FILE} names {name!a}, which is not in it")


def _bounded(member: Member) -> bytes:
    if member.size > MAX_DOCUMENT_SIZE:
        raise InvalidArgumentError(
            f"archive: {member.name} has {member.size} bytes, more than the {MAX_DOCUMENT_SIZE} that are read"
        )
    return b"".join(member.body)


def prepared(context: Context, image: Named, platform: Any, brought: set[Digest]) -> bool:
    """Check that an image is all there, and unpack what suits; whether something did.

    Manifests of other platforms may be here that came another way: the archive does not stand for those.
    """
    contents = context.contents(image.target)
    if not contents.parts:
        raise InvalidArgumentError(f"archive: image {image.name} has no manifest in it")
    missing = [(part, context.missing(part)) for part in contents.parts]
    whole = [part for part, lacks in missing if not lacks]
    own = [lacks for part, lacks in missing if not whole or part.descriptor.digest in brought]
    lacking = [str(one.digest) for lacks in own for one in lacks]
    if not whole or (contents.absent == [] and lacking):
        raise InvalidArgumentError(f"archive: image {image.name} lacks blob {', '.join(lacking[:3])}")
    suiting = [part for part in contents.suiting(platform) if part in whole] if platform else []
    if not suiting:
        return False
    context.at("unpack", "begin")
    context.unpack(suiting[0])
    return True
