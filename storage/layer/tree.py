"""The tree that a layer is written into, together with what shows through from the layers below.

Names of a layer are resolved here, component by component, in the merged view: a symbolic link of a lower
layer counts, and leads to a place inside the root. Directories on the way that exist only below are made
with the attributes that they have there. Every directory is held by descriptor and opened without following
links, so nothing outside the root can be reached, whatever changes underneath.

The layers below may still be in the making. Then a parent that the layer does not list is assumed to be a
directory, and whatever else depends on them waits for them: `settle`.
"""

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Callable, Collection

from storage.errors import FailedPreconditionError, InvalidArgumentError
from storage.layer.beneath import Beneath
from storage.layer.header import Entry, Kind, shown
from storage.layer.inode import OPEN_DIRECTORY, dress, opened, undress
from storage.layer.limits import Limits
from storage.layer.lowers import Found, Lowers, OpenInRoot

_OPEN_DIRECTORIES = 256  # most entries share a parent with their neighbours
_KNOWN_PATHS = 4096
_MOST_LINKS = 40  # as many as the kernel follows in one path
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class WrongAssumptionError(FailedPreconditionError):
    """What was assumed of the layers below is not so: apply the layer again when they are there."""


class Directory:
    """A directory of the merged view: its real path (no links in it) and, where the upper has it, descriptor.

    The descriptor lives as long as anybody holds the object, so that the cache may drop it at any time.
    """

    __slots__ = ("fd", "path")

    def __init__(self, path: bytes, fd: int = -1) -> None:
        self.path = path
        self.fd = fd

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)

    @property
    def is_upper(self) -> bool:
        """Whether it exists in the tree being written, and not only below."""
        return self.fd >= 0


def join(directory: bytes, name: bytes) -> bytes:
    """The path of `name` in `directory`."""
    return directory + b"/" + name if directory else name


class Tree:
    """Resolution and directories of an upper.

    `mtimes` are the times to be set on directories at the end; `own`, in native form, what this layer made;
    `beneath` what the layers below show through it.
    """

    def __init__(
        self,
        root: int,
        lowers: Callable[[], Lowers],
        open_in_root: OpenInRoot,
        limits: Limits,
        opaque: str,
        *,
        overlay: bool,
    ) -> None:
        self.root = Directory(b"", root)
        self._wait_for_lowers = lowers
        self._lowers: Lowers | None = None
        self._assumed: dict[bytes, bool] = {}  # directories, and whether they wait for their attributes
        self.overlay = overlay
        self.mtimes: dict[bytes, int] = {}
        self.own: set[bytes] = set()
        self._open_in_root = open_in_root
        self._limits = limits
        self._opaque_name = opaque
        self._open: OrderedDict[bytes, Directory] = OrderedDict({b"": self.root})
        self._aliases: dict[bytes, bytes] = {}  # paths through links -> real paths
        self._followed: set[bytes] = set()  # the links that those led through
        self.beneath = Beneath(lambda: self.lowers)

    @property
    def lowers(self) -> Lowers:
        """The layers below; waits for them."""
        if self._lowers is None:
            self._lowers = self._wait_for_lowers()
            for path, waits in self._assumed.items():
                self._check_assumed(path, self._lowers, waits=waits)
            self._assumed.clear()
        return self._lowers

    def settle(self) -> None:
        """Wait for the layers below, check what was assumed of them, and make good what was put off.

        Raises:
            WrongAssumptionError: the layer is to be applied again, from the beginning.
        """
        self.lowers  # noqa: B018  # a property that waits

    def _check_assumed(self, path: bytes, lowers: Lowers, *, waits: bool) -> None:
        parent, _, name = path.rpartition(b"/")
        found = self.below(parent, name) if path else lowers.find(b"", lowers.all)
        if found is None:
            return
        if not found.is_directory:
            raise WrongAssumptionError(f"layer path {shown(path)}: is no directory in the layers below")
        directory = self._at(path)
        if waits and directory.is_upper:
            entry = lowers.describe(found)
            dress(directory.fd, entry)
            self.mtimes[path] = entry.mtime_ns

    def begin(self) -> None:
        """The root has the attributes that it has below, until the layer says otherwise."""
        self.mtimes[b""] = 0
        self._assumed[b""] = True

    def set_root(self, entry: Entry) -> None:
        """Give the root the attributes of `entry`."""
        undress(self.root.fd)
        dress(self.root.fd, entry)
        self.mtimes[b""] = entry.mtime_ns
        self._assumed.pop(b"", None)

    def close(self) -> None:
        """Let go of all descriptors; the tree is of no use any more."""
        self._open.clear()
        self.root = Directory(b"")

    def resolve(self, path: bytes, *, create: bool) -> Directory | None:
        """The directory that a layer calls `path`.

        Args:
            path: Components joined by "/", as names.components leaves them.
            create: Make what is missing; without it the answer may be a directory that only exists below.

        Returns:
            The directory; None when it does not exist and is not to be made.

        Raises:
            InvalidArgumentError: A file stands in the way, links lead in a circle, or the path is too long.
        """
        known = self._open.get(self._aliases.get(path, path))
        if known is not None:
            self._open.move_to_end(known.path)
            return known
        found = self._walk(path, create=create)
        if found is not None and found.is_upper:
            self._remember(path, found)
        return found

    def _walk(self, path: bytes, *, create: bool) -> Directory | None:
        current, rest = self._nearest_open(path)
        pending = rest[::-1]
        links = 0
        while pending:
            name = pending.pop()
            if name == b"..":
                current = self._at(current.path.rpartition(b"/")[0])
                continue
            step = self._enter(current, name, create=create)
            if step is None:
                return None
            if isinstance(step, Directory):
                current = step
                continue
            links += 1
            if links > _MOST_LINKS:
                raise InvalidArgumentError(f"layer path {shown(path)}: too many symbolic links")
            pending += [part for part in step.split(b"/") if part not in (b"", b".")][::-1]
            current = self.root if step.startswith(b"/") else current
        return current

    def _nearest_open(self, path: bytes) -> tuple[Directory, list[bytes]]:
        """The longest part of `path` that is at hand, and the components behind it."""
        head = path
        while head not in self._open:
            head = head.rpartition(b"/")[0]
        rest = path[len(head) :].strip(b"/")
        return self._open[head], rest.split(b"/") if rest else []

    def _at(self, real: bytes) -> Directory:
        """The directory of a real path that is known to exist in the merged view."""
        known = self._open.get(real)
        if known is not None:
            return known
        try:
            return Directory(real, self._open_in_root(self.root.fd, real or b".", OPEN_DIRECTORY))
        except OSError as error:
            if error.errno in _GONE:
                return Directory(real)
            raise

    def _enter(self, current: Directory, name: bytes, *, create: bool) -> Directory | bytes | None:
        """The child `name`: a directory, the target of a link, or None when it is missing and stays so."""
        path = join(current.path, name)
        if current.is_upper:
            try:
                return self._opened(path, os.open(name, OPEN_DIRECTORY, dir_fd=current.fd))
            except FileNotFoundError:
                pass
            except NotADirectoryError:
                status = os.lstat(name, dir_fd=current.fd)
                if stat.S_ISLNK(status.st_mode):
                    self._followed.add(path)
                    return os.readlink(name, dir_fd=current.fd)
                self._refuse_file(path, create=create)
                return None
        if create and self._lowers is None:
            directory = self._make_unlisted(current, name)
            self._assumed[path] = True
            return directory
        return self._enter_below(current, name, self.below(current.path, name), create=create)

    def _enter_below(
        self, current: Directory, name: bytes, found: Found | None, *, create: bool
    ) -> Directory | bytes | None:
        path = join(current.path, name)
        if found is None:
            return self._make_unlisted(current, name) if create else None
        if stat.S_ISLNK(found.mode):
            self._followed.add(path)
            return self.lowers.readlink(found)
        if not found.is_directory:
            self._refuse_file(path, create=create)
            return None
        return self.make_directory(current, name, self.lowers.describe(found)) if create else Directory(path)

    def _refuse_file(self, path: bytes, *, create: bool) -> None:
        if create:
            raise InvalidArgumentError(
                f"layer path {shown(path)}: is not a directory, but has files below it"
            )

    def _opened(self, path: bytes, fd: int) -> Directory:
        if not self.overlay:  # a directory that was there before keeps its time, as if it had been copied up
            self.mtimes.setdefault(path, os.fstat(fd).st_mtime_ns)
        return Directory(path, fd)

    def _remember(self, path: bytes, directory: Directory) -> None:
        real = directory.path
        if path != real:
            if len(self._aliases) >= _KNOWN_PATHS:
                self._aliases.clear()
            self._aliases[path] = real
        self._open[real] = directory
        if len(self._open) > _OPEN_DIRECTORIES:
            oldest = next(iter(self._open))
            if oldest:
                del self._open[oldest]
            self._open.move_to_end(b"")

    def make_directory(self, parent: Directory, name: bytes, entry: Entry) -> Directory:
        """Make or take over the directory `name` with the attributes of `entry`.

        A directory that is there gets new attributes; anything else is replaced, and then nothing from the
        layers below may show through.
        """
        path = join(parent.path, name)
        if len(path) > self._limits.path_bytes or path.count(b"/") >= self._limits.depth:
            raise InvalidArgumentError(f"layer path {shown(path)}: too long or too deep")
        fresh = self._mkdir(parent, name, entry.mode & 0o777)
        self.changed(path)
        if path in self._assumed:
            self._assumed[path] = False
        directory = Directory(path, os.open(name, OPEN_DIRECTORY, dir_fd=parent.fd))
        if not self.overlay:
            self.own.add(path)
        if not fresh:
            undress(directory.fd)
        elif self.beneath.is_hidden(path):
            self.set_opaque(directory)
        dress(directory.fd, entry, os.fstat(directory.fd) if fresh else None)
        self.mtimes[path] = entry.mtime_ns
        self._remember(path, directory)  # what comes next is most likely in it
        return directory

    def _make_unlisted(self, parent: Directory, name: bytes) -> Directory:
        """A parent that no layer describes: 0755, of root, from 1970, so that every host gets the same."""
        entry = Entry(join(parent.path, name), Kind.DIRECTORY, 0o755, 0, 0, 0, 0, b"")
        return self.make_directory(parent, name, entry)

    def _mkdir(self, parent: Directory, name: bytes, mode: int) -> bool:
        """Whether the directory had to be made."""
        path = join(parent.path, name)
        try:
            os.mkdir(name, mode, dir_fd=parent.fd)
        except FileExistsError:
            if stat.S_ISDIR(os.lstat(name, dir_fd=parent.fd).st_mode):
                return False
            os.unlink(name, dir_fd=parent.fd)
            os.mkdir(name, mode, dir_fd=parent.fd)
            if self.overlay:
                self.set_opaque(Directory(path, os.open(name, OPEN_DIRECTORY, dir_fd=parent.fd)))
        return True

    def status(self, directory: Directory, name: bytes) -> os.stat_result | None:
        """What the upper has under `name`, None for nothing."""
        if not directory.is_upper:
            return None
        try:
            return os.lstat(name, dir_fd=directory.fd)
        except FileNotFoundError:
            return None

    def below(self, directory: bytes, name: bytes) -> Found | None:
        """What the layers below show under `name` in the directory of real path `directory`."""
        return self.beneath.find(join(directory, name))

    def set_opaque(self, directory: Directory) -> None:
        """Let nothing from the layers below show through `directory`, which is in the upper."""
        self.settle()
        os.setxattr(directory.fd, self._opaque_name, b"y")
        self.beneath.make_opaque(directory.path)
        self._forget_links()

    def hide(self, path: bytes) -> None:
        """Let what the layers below have at the real path be gone; the upper has nothing there."""
        self.settle()
        self.beneath.hide(path)
        self._forget_links()

    def _forget_links(self) -> None:
        """Forget what was resolved through links."""
        self._aliases.clear()
        self._followed.clear()

    def changed(self, path: bytes) -> None:
        """Something else stands at the real path now: forget what was resolved through it."""
        if path in self._followed:
            self._forget_links()

    def remove(self, directory: Directory, name: bytes, keep: Collection[bytes] = ()) -> None:
        """Remove `name` and all below it from the upper, but for the real paths in `keep`."""
        path = join(directory.path, name)
        status = os.lstat(name, dir_fd=directory.fd)
        if stat.S_ISDIR(status.st_mode):
            self.settle()
            self.prune(path, keep)
        elif path not in keep:
            os.unlink(name, dir_fd=directory.fd)
        self.changed(path)

    def prune(self, path: bytes, keep: Collection[bytes]) -> None:
        """Remove the directory at a real path with its content; what is in `keep` stays, with its parents."""
        pending, directories = [path], []
        while pending:
            current = pending.pop()
            directories.append(current)
            with opened(self._open_in_root(self.root.fd, current or b".", OPEN_DIRECTORY)) as fd:
                pending += _empty(fd, current, keep)
        for current in reversed(directories):
            if current and current not in keep:
                self._rmdir(current)
        self._forget_below(path)

    def _rmdir(self, path: bytes) -> None:
        """Remove a directory unless something that is to be kept is in it."""
        parent, _, name = path.rpartition(b"/")
        with opened(self._open_in_root(self.root.fd, parent or b".", OPEN_DIRECTORY)) as fd:
            try:
                os.rmdir(name, dir_fd=fd)
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise
                return
        self.mtimes.pop(path, None)

    def _forget_below(self, path: bytes) -> None:
        inside = path and path + b"/"  # below the root is everything
        for known in [known for known in self._open if known and (known == path or known.startswith(inside))]:
            del self._open[known]
        self._forget_links()

    def set_times(self) -> None:
        """Give every directory its time; to be called when nothing will be made or removed any more."""
        for path, mtime_ns in self.mtimes.items():
            directory = self._at(path)
            if directory.is_upper:
                os.utime(directory.fd, ns=(mtime_ns, mtime_ns))


def _empty(fd: int, path: bytes, keep: Collection[bytes]) -> list[bytes]:
    """Remove the files of an open directory that are not to be kept; the paths of its subdirectories."""
    directories = []
    with os.scandir(fd) as children:
        for child in children:
            name = os.fsencode(child.name)
            if child.is_dir(follow_symlinks=False):
                directories.append(join(path, name))
            elif join(path, name) not in keep:
                os.unlink(name, dir_fd=fd)
    return directories
