"""Save: images as an OCI layout, with Docker's manifest.json beside it so that its tools read it as well."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from actors.jobs.context import Context
from actors.jobs.lent import is_file
from actors.linux.borrow import Lent
from storage.archive.docker import MANIFEST_FILE, blob_name, build_manifest_file
from storage.archive.layout import HEADER, HEADER_FILE, INDEX_FILE, Named, build_index
from storage.archive.writing import DirectorySink, Sink, TarSink, write_all
from storage.descriptor import Descriptor
from storage.errors import FailedPreconditionError, InvalidArgumentError, StorageError, UnavailableError
from storage.image.contents import Contents
from storage.layer.compression import READ_BYTES


@dataclass(frozen=True, slots=True)
class SaveWish:
    """What to save.

    Attributes:
        target: the client's descriptor: a file, a pipe, or an empty directory.
        directory: write a layout of files instead of a tar.
        fresh: it is a file that is there for this archive alone, or was an empty directory, so that it may be
            begun anew.
        platform: save only that image of an index, as an image of its own.
        all_platforms: refuse to save unless every image of every index is here.
        docker: write Docker's manifest.json as well.
    """

    images: list[str]
    target: Lent
    directory: bool = False
    fresh: bool = False
    platform: str = ""
    all_platforms: bool = False
    docker: bool = True


def save(context: Context, wish: SaveWish) -> dict[str, Any]:
    """Write the archive; gives `images` and the bytes of all blobs.

    Raises:
        FailedPreconditionError: an image is not all here, or nobody reads the archive.
    """
    if not wish.images:
        raise InvalidArgumentError("name at least one image to save")
    chosen = [_chosen(context, name, wish) for name in dict.fromkeys(wish.images)]
    blobs = {
        one.digest: one for _, contents in chosen for one in contents.blobs() if context.store.has(one.digest)
    }
    fd = context.borrow(wish.target, writes=True, fresh=wish.fresh)
    try:
        _write(context, wish, _sink(context, fd, wish), chosen, sorted(blobs.values(), key=blob_name))
        if is_file(fd):
            os.fsync(fd)
    except BrokenPipeError as error:
        raise FailedPreconditionError("nobody reads the archive any more") from error
    except OSError as error:
        raise UnavailableError(
            f"archive cannot be written: {(error.strerror or str(error)).lower()}"
        ) from error
    finally:
        os.close(fd)
    images = [{"name": named.name, "digest": str(named.target.digest)} for named, _ in chosen]
    return {"images": images, "size": sum(one.size for one in blobs.values())}


def _sink(context: Context, fd: int, wish: SaveWish) -> Sink:
    if wish.directory:
        return DirectorySink(fd, again=wish.fresh and context.interrupted)
    return TarSink(lambda piece: write_all(fd, piece))


def _chosen(context: Context, name: str, wish: SaveWish) -> tuple[Named, Contents]:
    """An image by name, reduced to one platform if one is wished for."""
    found, root = context.image(name)
    if wish.platform:
        part = context.chosen(root, wish.platform)
        root = replace(part.descriptor, platform=part.platform)
    contents = context.contents(root)
    lacking = [one for part in contents.parts for one in context.missing(part)]
    whole = [part for part in contents.parts if not context.missing(part)]
    if not whole or (wish.all_platforms and (lacking or contents.absent)):
        absent = [*contents.absent, *lacking]
        what = f"{len(absent)} blobs, among them {absent[0].digest}" if absent else "a manifest"
        raise FailedPreconditionError(f"image {found} is not all here, it lacks {what}: pull it first")
    cut = {part.descriptor.digest for part in contents.parts if part not in whole}
    contents.documents = [one for one in contents.documents if one.digest not in cut]  # they would promise
    contents.parts = whole
    return Named(found, root), contents


def _write(
    context: Context,
    wish: SaveWish,
    sink: Sink,
    chosen: list[tuple[Named, Contents]],
    blobs: list[Descriptor],
) -> None:
    """Blobs before the documents that name them, so that what is cut off is no archive."""
    for blob in blobs:
        context.at("save", "blob")
        sink.put(blob_name(blob), blob.size, _pieces(context, blob))
        context.at("save", "written")
    docker = []
    for named, contents in chosen:
        suiting = contents.suiting(context.platform(""))
        docker += [
            (named.name, part.manifest)
            for part in suiting[:1] or contents.parts[:1]
            if part.manifest.is_image
        ]
    documents = {
        **({MANIFEST_FILE: build_manifest_file(docker)} if wish.docker else {}),
        INDEX_FILE: build_index(named for named, _ in chosen),
        HEADER_FILE: HEADER,
    }
    for name, content in documents.items():
        sink.put(name, len(content), [content])
    sink.finish()


def _pieces(context: Context, blob: Descriptor) -> Iterator[bytes]:
    """Its bytes, verified once more on their way."""
    offset = 0
    with context.store.open(blob.digest, verified=True) as stream:
        while piece := stream.read(READ_BYTES):
            offset += len(piece)
            yield piece
            context.moved(str(blob.digest), "saving", offset, blob.size)
    if offset != blob.size:
        raise StorageError(f"blob {blob.digest} has {offset} bytes, but the image says {blob.size}")
    context.moved(str(blob.digest), "done", blob.size, blob.size)
