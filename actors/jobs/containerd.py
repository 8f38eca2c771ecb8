"""Containerd: images out of the directory of a containerd that does not run, with the content they need.

Its database is locked meanwhile, as containerd itself locks it: it cannot start and collect what is read.
Each blob is compared with its digest as it comes. Snapshots are not taken over but unpacked anew.
"""

import fcntl
import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from actors.jobs.context import Context
from actors.jobs.lent import LentStream, is_directory
from actors.jobs.load import prepared
from actors.linux.borrow import Lent
from actors.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from storage.archive import containerd
from storage.archive.containerd import Recorded
from storage.archive.layout import Named
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from storage.image.contents import walk
from storage.reference import Reference
from transport.errors import RemoteError

_MOST_DATABASE: Final = 4 << 30  # bytes
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a FIFO in the place of a file is not waited for


@dataclass(frozen=True, slots=True)
class ContainerdWish:
    """What to take.

    Attributes:
        source: the client's descriptor of containerd's root.
        namespace: containerd's.
        images: names as containerd has them, or as people write them; all when empty.
        platform: which image of an index to unpack; the host's when empty.
    """

    source: Lent
    namespace: str
    images: tuple[str, ...] = ()
    platform: str = ""
    unpack: bool = True


def take(context: Context, wish: ContainerdWish) -> dict[str, Any]:
    """Gives `images`, each with name, digest, and whether it was unpacked, and `skipped` with reasons.

    Raises:
        InvalidArgumentError: it is no root of containerd's, or is damaged.
        FailedPreconditionError: containerd runs on it.
        NotFoundError: it has no such images.
    """
    platform = context.platform(wish.platform) if wish.unpack else None
    root = context.borrow(wish.source)
    try:
        if not is_directory(root):
            raise InvalidArgumentError("containerd: its root has to be a directory")
        with _database(root) as database:
            chosen = _chosen(containerd.images(database), wish)
            taken = [_Taking(context, root, one).perform(platform) for one in chosen]
    finally:
        os.close(root)
    return {
        "images": [one for one in taken if "skipped" not in one],
        "skipped": [{"name": one["name"], "reason": one["skipped"]} for one in taken if "skipped" in one],
    }


@contextmanager
def _database(root: int) -> Iterator[mmap.mmap]:
    try:
        fd = _open_beneath(root, containerd.DATABASE)
    except FileNotFoundError:
        text = f"containerd: there is no {containerd.DATABASE}: is this the root of a containerd?"
        raise NotFoundError(text) from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= _MOST_DATABASE:
            raise InvalidArgumentError(f"containerd: {containerd.DATABASE} is no database")
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FailedPreconditionError("containerd runs on this directory: stop it first") from None
        with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as content:
            yield content
    finally:
        os.close(fd)


def _open_beneath(root: int, path: str) -> int:
    try:
        return openat2(root, path, _FLAGS, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
    except FileNotFoundError:
        raise
    except OSError as error:
        text = f"containerd: {path} cannot be opened: {(error.strerror or str(error)).lower()}"
        raise InvalidArgumentError(text) from error


def _chosen(found: dict[str, list[Recorded]], wish: ContainerdWish) -> list[Recorded]:
    there = found.get(wish.namespace)
    if not there:
        others = ", ".join(f"{name} ({len(images)})" for name, images in sorted(found.items())) or "none"
        text = f"containerd: namespace {wish.namespace!a} has no images; namespaces with some: {others}"
        raise NotFoundError(text)
    if not wish.images:
        return there
    by_name = {one.name: one for one in there}
    chosen = []
    for name in wish.images:
        one = by_name.get(name) or by_name.get(str(Reference.parse(name)))
        if one is None:
            raise NotFoundError(f"containerd: namespace {wish.namespace!a} has no image {name!a}")
        chosen.append(one)
    return chosen


class _Taking:
    """One image on its way from there to here."""

    def __init__(self, context: Context, root: int, image: Recorded) -> None:
        self._context = context
        self._root = root
        self._image = image
        self._brought: set[Digest] = set()

    def perform(self, platform: Any) -> dict[str, Any]:
        """What came of it; an image that is not whole is no reason to leave out the others."""
        context, image = self._context, self._image
        try:
            name = str(Reference.parse(image.name))
            contents = walk(image.target, self._read)
            for part in contents.parts:
                for child in part.manifest.children():
                    self._bring(child)
            unpacked = prepared(context, Named(name, image.target), platform, self._brought)
        except (InvalidArgumentError, RemoteError) as error:
            if error.code != InvalidArgumentError.code:
                raise
            return {"name": image.name, "skipped": str(error)}
        context.moved(name, "done")
        found = context.name(name, image.target, image.labels)
        return {"name": found["name"], "digest": str(image.target.digest), "unpacked": unpacked}

    def _read(self, descriptor: Descriptor) -> bytes | None:
        self._bring(descriptor)
        return self._context.document(descriptor)

    def _bring(self, blob: Descriptor) -> None:
        """A blob that is here already is only noted; one that is not there may be of another platform."""
        digest = blob.digest
        try:
            fd = _open_beneath(self._root, f"{containerd.BLOBS}/{digest.algorithm}/{digest.hex}")
        except FileNotFoundError:
            return
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise InvalidArgumentError(f"containerd: blob {digest} is no regular file")
            self._context.keep(blob, iter(LentStream(fd).read, b""))
        finally:
            os.close(fd)
        self._brought.add(digest)
