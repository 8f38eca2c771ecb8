"""Making one inode by the descriptor of its directory, with its attributes in the order that keeps them.

Owner first, since chown clears capabilities and set-id bits; then extended attributes, mode, and last the
time. Nothing here follows a symbolic link: a name is a single component, and what has no descriptor of its
own is reached through /proc/self/fd, which leads to the very inode that was opened.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from storage.errors import InvalidArgumentError
from storage.layer.header import Entry, Kind, shown

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
OVERLAY_XATTRS = (b"trusted.overlay.", b"user.overlay.")
_LABEL_XATTR = "security.selinux"  # belongs to the host's policy, cannot be removed
_COPY_BYTES = 64 << 20
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)

_FORMATS = {Kind.CHARACTER: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK, Kind.FIFO: stat.S_IFIFO}
_KINDS = {
    stat.S_IFREG: Kind.REGULAR,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER,
    stat.S_IFBLK: Kind.BLOCK,
    stat.S_IFIFO: Kind.FIFO,
}


def is_whiteout(status: os.stat_result) -> bool:
    """Whether overlayfs takes this inode for a whiteout: the character device 0:0."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


@contextlib.contextmanager
def opened(fd: int) -> Iterator[int]:
    """`fd` for the block, closed behind it."""
    try:
        yield fd
    finally:
        os.close(fd)


def open_listed(open_in_root: Callable[[int, bytes, int], int], root: int, path: bytes, flags: int) -> int:
    """Open what was listed a moment ago in a tree that others change; -1 if it has gone since."""
    try:
        return open_in_root(root, path, flags)
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return -1


def listed(fd: int) -> list[bytes]:
    """The names in an open directory, sorted; none in one that has gone since it was opened."""
    try:
        with os.scandir(f"/proc/self/fd/{fd}") as children:
            return sorted(os.fsencode(child.name) for child in children)
    except FileNotFoundError:
        return []


def make_file(dir_fd: int, name: bytes, entry: Entry, fill: Callable[[int], None]) -> None:
    """Create a regular file; `fill` writes the content to the descriptor it gets.

    Raises:
        FileExistsError: The name is taken; `fill` has not been called.
    """
    fd = os.open(name, _CREATE, entry.mode & 0o777, dir_fd=dir_fd)
    try:
        fill(fd)
        dress(fd, entry, os.fstat(fd))
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
    finally:
        os.close(fd)


def dress(fd: int, entry: Entry, now: os.stat_result | None = None) -> None:
    """Owner, extended attributes and mode of an open file or directory.

    With what it has `now`, that of a file just made, only the difference is set: each of these calls is a
    transaction of the filesystem's journal, and most files of most layers need none.
    """
    owned = now is not None and (now.st_uid, now.st_gid) == (entry.uid, entry.gid)
    if not owned:
        os.fchown(fd, entry.uid, entry.gid)
    if entry.xattrs:
        _set_xattrs(fd, entry)
    if not owned or entry.xattrs or now is None or stat.S_IMODE(now.st_mode) != entry.mode:
        os.fchmod(fd, entry.mode)


def undress(fd: int) -> None:
    """Drop the extended attributes that an earlier owner of the name left, but for overlayfs's own."""
    for name in os.listxattr(fd):
        if name != _LABEL_XATTR and not os.fsencode(name).startswith(OVERLAY_XATTRS):
            os.removexattr(fd, name)


def make_node(dir_fd: int, name: bytes, entry: Entry) -> None:
    """Create a symbolic link, fifo or device.

    Raises:
        FileExistsError: The name is taken.
        InvalidArgumentError: A character device 0:0, which would act as a whiteout.
    """
    times = (entry.mtime_ns, entry.mtime_ns)
    if entry.kind is Kind.SYMLINK:
        _make_symlink(dir_fd, name, entry)
    else:
        _make_special(dir_fd, name, entry)
    os.utime(name, ns=times, dir_fd=dir_fd, follow_symlinks=False)


def _make_symlink(dir_fd: int, name: bytes, entry: Entry) -> None:
    if not entry.link:
        raise InvalidArgumentError(f"layer entry {shown(entry.name)}: symbolic link without a target")
    os.symlink(entry.link, name, dir_fd=dir_fd)
    os.chown(name, entry.uid, entry.gid, dir_fd=dir_fd, follow_symlinks=False)
    if entry.xattrs:
        _set_xattrs(b"/proc/self/fd/%d/%s" % (dir_fd, name), entry)


def _make_special(dir_fd: int, name: bytes, entry: Entry) -> None:
    if entry.kind is Kind.CHARACTER and entry.device == (0, 0):
        raise InvalidArgumentError(
            f"layer entry {shown(entry.name)}: character device 0:0 is overlayfs's whiteout, no content"
        )
    os.mknod(name, _FORMATS[entry.kind] | 0o600, os.makedev(*entry.device), dir_fd=dir_fd)
    with opened(os.open(name, OPEN_PATH, dir_fd=dir_fd)) as fd:
        if stat.S_ISLNK(os.fstat(fd).st_mode):  # somebody swaps names in the tree
            raise InvalidArgumentError(f"layer entry {shown(entry.name)}: replaced while it was being made")
        itself = f"/proc/self/fd/{fd}"
        os.chown(itself, entry.uid, entry.gid)
        if entry.xattrs:
            _set_xattrs(itself, entry)
        Path(itself).chmod(entry.mode)


def _set_xattrs(where: int | str | bytes, entry: Entry) -> None:
    """Set what the filesystem can hold. A path must end in the inode itself, which is not followed."""
    follow = not isinstance(where, bytes)
    for name, value in entry.xattrs.items():
        if name.startswith(OVERLAY_XATTRS):
            continue  # how overlayfs keeps its books is not for a layer to say
        try:
            os.setxattr(where, name, value, follow_symlinks=follow)
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise


def describe(fd: int, path: bytes) -> Entry:
    """An existing inode, open with O_PATH, as the entry that would make it again."""
    status = os.fstat(fd)
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        raise InvalidArgumentError(f"lower file {shown(path)}: a socket cannot be copied")
    return Entry(
        name=path,
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        link=os.readlink(b"", dir_fd=fd) if kind is Kind.SYMLINK else b"",
        device=(os.major(status.st_rdev), os.minor(status.st_rdev)),
        xattrs={} if kind is Kind.SYMLINK else _xattrs(fd),
    )


def _xattrs(fd: int) -> dict[bytes, bytes]:
    """None on a filesystem that does not know of any: /proc, devpts, vfat."""
    itself = f"/proc/self/fd/{fd}"
    try:
        names = os.listxattr(itself)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise
    found = {}
    for name in names:
        try:
            found[os.fsencode(name)] = os.getxattr(itself, name)
        except OSError as error:
            if error.errno != errno.ENODATA:  # taken away since it was listed
                raise
    return found


def copy_content(source: int, target: int, size: int) -> None:
    """Copy `size` bytes between two open regular files, of which the target is new; holes stay holes.

    A layer of a few bytes may name files of any size.
    """
    os.ftruncate(target, size)
    for start, end in extents(source, size):
        offset = os.lseek(target, start, os.SEEK_SET)
        while offset < end:
            copied = os.sendfile(target, source, offset, min(end - offset, _COPY_BYTES))
            if not copied:
                raise OSError(errno.EIO, "file became shorter while it was copied")
            offset += copied


def extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """The parts of a file of `size` bytes that are not holes; moves its position."""
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end
