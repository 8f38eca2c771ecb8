"""Apply a layer: its tar becomes files in the upper directory of a snapshot.

The upper is written directly, not through a mount, in the form that overlayfs reads: a removed name is a
character device 0:0, a directory that hides what is below carries an attribute. In native form (the target
is a full copy of the parent) removed names are removed. Either way a whiteout concerns the layers below
only, wherever it stands in the tar, and never what its own layer makes (image-spec layer.md, "Whiteouts").

A crash leaves a half-written upper and nothing else; whoever applies starts again with a new one. When
`apply_layer` has returned, everything it wrote is on disk.
"""

import contextlib
import errno
import functools
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.errors import FailedPreconditionError, InvalidArgumentError, StorageError, UnavailableError
from storage.layer import inode, names, whiteouts
from storage.layer.compression import Readable
from storage.layer.header import Entry, Kind, shown
from storage.layer.limits import DEFAULT_LIMITS, Limits
from storage.layer.lowers import Found, Lowers, OpenInRoot
from storage.layer.names import Meaning
from storage.layer.source import ChunkSource, Progress
from storage.layer.tar import TarReader, write_body
from storage.layer.tree import Directory, Tree, join
from storage.room import FULL, no_room

_OPEN_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OUT_OF_SOMETHING = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
_OUR_TROUBLE = {errno.EIO, errno.EROFS, errno.EBADF}


@dataclass(frozen=True, slots=True)
class Applied:
    """The result: diff ID of the uncompressed tar ("sha256:..."), its length in bytes, entries in it."""

    diff_id: str
    size: int
    entries: int


def apply_layer(
    stream: Readable,
    upper: Path,
    lowers: Sequence[Path] | Callable[[], Sequence[Path]] = (),
    *,
    open_in_root: OpenInRoot,
    sync: Callable[[int], None],
    limits: Limits = DEFAULT_LIMITS,
    on_progress: Progress | None = None,
    overlay: bool = True,
    userxattr: bool = False,
) -> Applied:
    """Write the layer in `stream` into `upper`.

    Args:
        stream: The uncompressed tar (see compression.open_blob); it is read to its very end.
        upper: An empty directory; in native form a full copy of the parent.
        lowers: The layers below in overlay form, nearest first; none in native form. Or what waits for
            them: it is called when something depends on them, at the latest before the end.
        open_in_root: openat2 confined to the root it is given.
        sync: syncfs: makes the filesystem of a descriptor durable.
        limits: Caps on what the layer may hold.
        on_progress: Told of the uncompressed bytes read so far.
        overlay: False for the native form.
        userxattr: Mark opaque directories for a mount with that option.

    Raises:
        InvalidArgumentError: The layer is malformed, hostile or beyond a limit.
        FailedPreconditionError: The upper of an overlay is not empty.
        WrongAssumptionError: What had to wait for `lowers` turned out otherwise than assumed: apply the layer
            once more to a new upper, with the lowers that are there now.
        FullError: Out of space.
        UnavailableError: Out of descriptors or memory.
        StorageError: The filesystem failed.
    """
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(ChunkSource(stream, limits, on_progress))
        reader = TarReader(source.next_chunk, limits)
        root = stack.enter_context(_directory(upper))
        opaque = "user.overlay.opaque" if userxattr else "trusted.overlay.opaque"

        def below() -> Lowers:
            paths = lowers() if callable(lowers) else lowers
            root = functools.cache(lambda number: stack.enter_context(_directory(paths[number])))
            return Lowers(len(paths), root, open_in_root, opaque)

        tree = Tree(os.dup(root), below, open_in_root, limits, opaque, overlay=overlay)
        stack.callback(tree.close)
        applier = _Applier(tree, reader, limits)
        with _reported(f"layer upper {shown(os.fsencode(upper))}", upper):
            applier.begin()
            if not callable(lowers):
                tree.settle()
        for entry in reader:
            with _reported(f"layer entry {shown(entry.name)}", upper):
                applier.apply(entry)
        diff_id = source.finish()
        with _reported(f"layer upper {shown(os.fsencode(upper))}", upper):
            tree.settle()
            applier.finish()
            tree.set_times()
            sync(root)
    return Applied(diff_id, source.size, applier.entries)


@contextlib.contextmanager
def _directory(path: Path) -> Iterator[int]:
    """A descriptor of the top of a layer."""
    with _reported(f"layer directory {shown(os.fsencode(path))}", path):
        fd = os.open(path, _OPEN_ROOT)
    with inode.opened(fd):
        yield fd


@contextlib.contextmanager
def _reported(about: str, place: Path) -> Iterator[None]:
    """An OSError at a path as the kind of storage error that it means."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        if error.errno in FULL:
            raise no_room(about, error, place) from error
        if error.errno in _OUT_OF_SOMETHING:
            raise UnavailableError(f"{about}: {reason}, make room and try again") from error
        if error.errno in _OUR_TROUBLE:
            raise StorageError(f"{about}: {reason}") from error
        raise InvalidArgumentError(f"{about}: {reason}") from error


class _Applier:
    """One layer on its way into a tree."""

    def __init__(self, tree: Tree, reader: TarReader, limits: Limits) -> None:
        self._tree = tree
        self._reader = reader
        self._limits = limits
        self._whiteouts = whiteouts.for_tree(tree)
        self._links: Directory | None = None
        self.entries = 0

    def begin(self) -> None:
        """Refuse an upper that something was written to; give the root the attributes it has below."""
        tree = self._tree
        if not tree.overlay:
            tree.mtimes[b""] = os.fstat(tree.root.fd).st_mtime_ns
            return
        with os.scandir(tree.root.fd) as children:
            if any(children):
                raise FailedPreconditionError("layer upper is not empty: apply to a new snapshot")
        tree.begin()

    def apply(self, entry: Entry) -> None:
        """Do what one entry asks for."""
        self.entries += 1
        target = names.target(entry.name, self._limits)
        if target.meaning is Meaning.PLACE:
            parent = self._parent(target.directory)
            self._place(parent, target.name, entry)
        elif target.meaning is Meaning.ROOT:
            if entry.kind is not Kind.DIRECTORY:
                raise InvalidArgumentError(
                    f"layer entry {shown(entry.name)}: the root cannot be a {entry.kind.value}"
                )
            self._tree.set_root(entry)
        elif target.meaning is Meaning.WHITEOUT:
            self._whiteouts.hide(target.directory, target.name)
        elif target.meaning is Meaning.OPAQUE:
            self._whiteouts.hide_all(target.directory)
        elif target.meaning is Meaning.LINKED and entry.kind is Kind.REGULAR:
            self._place(self._for_links(), target.name, entry)

    def finish(self) -> None:
        """Mark what is gone, and let go of what only links needed."""
        if self._links is not None:
            self._tree.remove(self._tree.root, names.LINKS)
        self._whiteouts.finish()

    def _for_links(self) -> Directory:
        """The directory that AUFS kept linked files in, for as long as the layer is read."""
        if self._links is None:
            entry = Entry(names.LINKS, Kind.DIRECTORY, 0o700, 0, 0, 0, 0, b"")
            self._links = self._tree.make_directory(self._tree.root, names.LINKS, entry)
        return self._links

    def _parent(self, path: bytes) -> Directory:
        directory = self._tree.resolve(path, create=True)
        if directory is None:
            raise InvalidArgumentError(f"layer path {shown(path)}: cannot be made")
        return directory

    def _place(self, parent: Directory, name: bytes, entry: Entry) -> None:
        path = join(parent.path, name)
        if entry.kind is Kind.DIRECTORY:
            self._tree.make_directory(parent, name, entry)
            return
        make = self._maker(parent, name, entry)
        try:
            make()
        except FileExistsError:
            self._tree.remove(parent, name)
            make()
        self._tree.changed(path)
        if not self._tree.overlay:
            self._tree.own.add(path)

    def _maker(self, parent: Directory, name: bytes, entry: Entry) -> Callable[[], None]:
        """What makes the inode, or finds the name taken before it has done anything."""
        if entry.kind is Kind.REGULAR:
            return lambda: inode.make_file(
                parent.fd, name, entry, lambda fd: write_body(fd, entry, self._reader)
            )
        if entry.kind is Kind.HARDLINK:
            return self._linker(parent, name, entry)
        return lambda: inode.make_node(parent.fd, name, entry)

    def _linker(self, parent: Directory, name: bytes, entry: Entry) -> Callable[[], None]:
        """Find what a hard link is to lead to, copying it up from below if need be."""
        parts = names.components(entry.link)
        if not parts:
            raise InvalidArgumentError(f"layer entry {shown(entry.name)}: hard link without a target")
        target = parts.pop()
        directory = self._link_source(b"/".join(parts), target)
        if directory is None:
            raise InvalidArgumentError(
                f"layer entry {shown(entry.name)}: no file {shown(entry.link)} to make a hard link to"
            )
        if (directory.path, target) == (parent.path, name):
            return lambda: None
        return lambda: os.link(
            target, name, src_dir_fd=directory.fd, dst_dir_fd=parent.fd, follow_symlinks=False
        )

    def _link_source(self, path: bytes, name: bytes) -> Directory | None:
        """The upper directory that holds the file `name` of `path`, None when there is no such file."""
        tree = self._tree
        directory = tree.resolve(path, create=False)
        if directory is None:
            return None
        status = tree.status(directory, name)
        if status is not None:
            return None if stat.S_ISDIR(status.st_mode) else directory
        found = tree.below(directory.path, name)
        if found is None or found.is_directory:
            return None
        directory = self._parent(path)
        self._copy_up(found, directory, name)
        return directory

    def _copy_up(self, found: Found, directory: Directory, name: bytes) -> None:
        lowers = self._tree.lowers
        entry = lowers.describe(found)
        if entry.kind is not Kind.REGULAR:
            inode.make_node(directory.fd, name, entry)
            return
        with inode.opened(lowers.open(found, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)) as source:
            inode.make_file(directory.fd, name, entry, lambda fd: inode.copy_content(source, fd, entry.size))
