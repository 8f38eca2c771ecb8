"""The files of an archive, whichever form it has: name, size, content. Nothing is extracted.

A link in the archive is an alias of another member's name, and nothing else: it is compared as text, never
followed on a filesystem. In a directory, links are refused by the kernel (openat2).
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from storage.digest import Digest
from storage.errors import InvalidArgumentError, StorageError
from storage.layer.compression import READ_BYTES, Readable, open_blob
from storage.layer.header import Entry, Kind
from storage.layer.limits import Limits
from storage.layer.tar import TarReader

LIMITS: Final = Limits(entries=200_000, header_bytes=64 << 10, path_bytes=1024, total_bytes=256 << 30)
"""For the archive as a whole; what its layers may hold is another matter."""

OpenBeneath = Callable[[int, str, int], int]
"""openat2 that follows no link and does not leave the directory: (directory, path, flags) -> descriptor."""

_OPEN_FILE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Member:
    """One file. `body` can be read once, before the next member is asked for; `link` is another's name."""

    name: str
    size: int = 0
    body: Iterable[bytes | memoryview] = field(default=(), repr=False)
    link: str = ""

    @property
    def digest(self) -> Digest | None:
        """What its name says that its content is: `blobs/sha256/<hex>`; None for other names."""
        folder, _, encoded = self.name.rpartition("/")
        if not folder.startswith("blobs/"):
            return None
        try:
            found = Digest.parse(f"{folder.removeprefix('blobs/')}:{encoded}")
        except InvalidArgumentError:
            return None
        return found if found.verifiable else None


def tar_members(stream: Readable, limits: Limits = LIMITS) -> Iterator[Member]:
    """The files of a tar, compressed or not, in its order.

    Raises:
        InvalidArgumentError: It is no tar, cut off, beyond a limit, or has a member that no image needs
            (a device, a name with `..`).
    """
    plain = open_blob(stream, limits)
    reader = TarReader(lambda: plain.read(READ_BYTES), limits)
    try:
        while (entry := reader.next()) is not None:
            if entry.kind is Kind.DIRECTORY:
                continue
            name = clean(entry.name.decode("utf-8", "surrogateescape"))
            yield _member(name, entry, reader)
        while plain.read(READ_BYTES):
            pass  # padding: to the end, so that a cut-off or damaged archive is noticed
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"archive: {str(error).removeprefix('layer tar: ')}") from error


def _member(name: str, entry: Entry, reader: TarReader) -> Member:
    if entry.kind in (Kind.SYMLINK, Kind.HARDLINK):
        return Member(name, link=_target(name, entry.kind, entry.link))
    if entry.kind is not Kind.REGULAR or entry.sparse is not None:
        raise InvalidArgumentError(f"{name!a} is a {entry.kind.value} that no image needs")
    return Member(name, entry.size, reader.body())


def clean(name: str) -> str:
    """A member's name without `./`. InvalidArgumentError for one that is absolute, empty or has `..`."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or not parts or ".." in parts or not name.isprintable():
        raise InvalidArgumentError(f"{name[:200]!a} is no name for a file of an image")
    return "/".join(parts)


def _target(name: str, kind: Kind, link: bytes) -> str:
    """The member that a link means. A symbolic one begins where it stands, a hard one at the top."""
    target = link.decode("utf-8", "surrogateescape")
    base = name.split("/")[:-1] if kind is Kind.SYMLINK else []
    for part in target.split("/"):
        if part == ".." and base:
            base.pop()
        elif part == ".." or (target.startswith("/") and kind is Kind.SYMLINK):
            raise InvalidArgumentError(f"link {name!a} leads out of the archive, to {target[:200]!a}")
        elif part not in ("", "."):
            base.append(part)
    return clean("/".join(base))


def directory_members(root: int, open_beneath: OpenBeneath) -> Iterator[Member]:
    """The files of an OCI layout in the open directory `root`: its two documents, and every blob.

    Raises:
        InvalidArgumentError: One of them is a link, or no regular file.
    """
    names = ["oci-layout", "index.json"]
    for algorithm in ("sha256", "sha512"):
        names += [f"blobs/{algorithm}/{name}" for name in _listed(root, f"blobs/{algorithm}", open_beneath)]
    for name in names:
        descriptor = _opened(root, name, _OPEN_FILE, open_beneath)
        if descriptor is None:
            continue
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise InvalidArgumentError(f"layout: {name!a} is no regular file")
            yield Member(name, status.st_size, _pieces(descriptor, status.st_size, name))
        finally:
            os.close(descriptor)


def _listed(root: int, name: str, open_beneath: OpenBeneath) -> list[str]:
    descriptor = _opened(root, name, _OPEN_DIRECTORY, open_beneath)
    if descriptor is None:
        return []
    try:
        found = sorted(os.listdir(descriptor))  # noqa: PTH208  # a path cannot be one
    finally:
        os.close(descriptor)
    if len(found) > LIMITS.entries:
        raise InvalidArgumentError(f"layout: more than {LIMITS.entries} blobs")
    return found


def _opened(root: int, name: str, flags: int, open_beneath: OpenBeneath) -> int | None:
    try:
        return open_beneath(root, name, flags)
    except FileNotFoundError:
        return None
    except OSError as error:
        text = f"layout: {name!a} is no file of it ({(error.strerror or str(error)).lower()})"
        raise InvalidArgumentError(text) from error


def _pieces(descriptor: int, size: int, name: str) -> Iterator[bytes]:
    while size:
        piece = os.read(descriptor, min(size, READ_BYTES))
        if not piece:
            raise StorageError(f"layout: {name!a} became shorter while it was read")
        size -= len(piece)
        yield piece
