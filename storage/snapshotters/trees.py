"""Directory trees written by images and containers: delete, measure and copy them.

Such a tree may be deeper than any path may be long, and a container may change it meanwhile. So it is walked
by directory descriptors without following links, and never by recursion.
"""

import contextlib
import errno
import fcntl
import itertools
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from storage.layer.inode import extents
from storage.snapshotters.contract import Usage
from storage.snapshotters.ids import Shift

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_DEPTH = 256
_FICLONE = 0x40049409  # linux/fs.h, _IOW(0x94, 9, int)
_COPY_BYTES = 1 << 30
_PIECE = 1 << 20  # bytes, where they pass through our memory
# Belongs to the overlay mount it was written by; means nothing, or harm, elsewhere.
_OVERLAY_XATTRS = ("trusted.overlay.", "user.overlay.")


def delete_tree(path: Path) -> None:
    """Delete a directory with all that is in it; again after a crash is no error.

    Each inner directory is first moved to a new name in the outermost one. That bounds depth, and it stops
    at a mount point, which cannot be moved, instead of deleting what is mounted there.

    Raises:
        OSError: something in it could not be deleted, for example a mount point.
    """
    with contextlib.suppress(FileNotFoundError), _directory(path) as top:
        names = (f"{secrets.token_hex(8)}-{number}" for number in itertools.count())
        pending = _empty(top, top, names)
        while pending:
            name = pending.pop()
            with _directory(name, top) as inner:
                pending += _empty(inner, top, names)
            os.rmdir(name, dir_fd=top)
        path.rmdir()


def _empty(directory: int, top: int, names: Iterator[str]) -> list[str]:
    """Unlink the files of a directory and move its directories into `top`; their names there."""
    found: list[str] = []
    with os.scandir(directory) as entries:
        # Listed at once when names are added to it, lest the scan meets them again.
        for entry in list(entries) if directory == top else entries:
            if entry.is_dir(follow_symlinks=False):
                found.append(next(names))
                os.rename(entry.name, found[-1], src_dir_fd=directory, dst_dir_fd=top)
            else:
                os.unlink(entry.name, dir_fd=directory)
    return found


def measure(path: Path) -> Usage:
    """Inodes and bytes on the disk below and including `path`; what vanishes meanwhile is not counted.

    Hard links count once. Below 256 levels nothing is counted: no image has that, and a container that
    digs deeper only makes its own usage look smaller.
    """
    size = inodes = 0
    linked: set[tuple[int, int]] = set()
    for found in _walk(path):
        if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
            if (found.st_dev, found.st_ino) in linked:
                continue
            linked.add((found.st_dev, found.st_ino))
        inodes += 1
        size += found.st_blocks * 512
    return Usage(inodes, size)


def _walk(path: Path) -> Iterator[os.stat_result]:
    top = os.open(path, _OPEN_DIRECTORY)
    levels = [_level(top)]  # of each directory on the way, and of no other: there may be millions
    try:
        yield os.fstat(top)
        while levels:
            directory, entries, close = levels[-1]
            entry = next(entries, None)
            if entry is None:
                close.close()
                levels.pop()
                continue
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                found = os.stat(entry.name, dir_fd=directory, follow_symlinks=False)
                yield found
                if stat.S_ISDIR(found.st_mode) and len(levels) < _MAX_DEPTH:
                    levels.append(_level(os.open(entry.name, _OPEN_DIRECTORY, dir_fd=directory)))
    finally:
        for _, _, close in levels:
            close.close()


def _level(directory: int) -> tuple[int, Iterator[os.DirEntry[str]], contextlib.ExitStack]:
    with contextlib.ExitStack() as level:
        level.callback(os.close, directory)
        entries = level.enter_context(os.scandir(directory))
        return directory, entries, level.pop_all()


_PLAIN = Shift()


def copy_attributes(source: Path, target: Path, shift: Shift = _PLAIN) -> None:
    """Give `target` owner (shifted), mode, xattrs and times of `source`; no link is followed."""
    found = os.lstat(source)
    os.chown(target, *shift.owner(found.st_uid, found.st_gid), follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        target.chmod(stat.S_IMODE(found.st_mode))  # after chown, which clears set-id bits
    for name in os.listxattr(source, follow_symlinks=False):
        if not name.startswith(_OVERLAY_XATTRS):
            value = os.getxattr(source, name, follow_symlinks=False)
            os.setxattr(target, name, value, follow_symlinks=False)
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=False)


def copy_tree(source: Path, target: Path, shift: Shift = _PLAIN) -> None:
    """Copy what is in `source`, and its attributes, into the existing empty `target`.

    Everything is kept but for the shift of owners: modes, times, xattrs, hard links, devices, holes. The
    source must not change meanwhile. File contents share their blocks where the file system can do that.

    Raises:
        OSError: something could not be copied, for example for want of space.
    """
    links: dict[int, Path] = {}
    directories = [(source, target)]
    for from_directory, to_directory in directories:  # grows while it is walked
        with os.scandir(from_directory) as entries:
            for entry in entries:
                from_path, to_path = from_directory / entry.name, to_directory / entry.name
                if entry.is_dir(follow_symlinks=False):
                    to_path.mkdir(mode=0o700)
                    directories.append((from_path, to_path))
                else:
                    _copy_entry(from_path, to_path, links, shift)
    for from_directory, to_directory in reversed(directories):  # last, since writing in it changes its time
        copy_attributes(from_directory, to_directory, shift)


def _copy_entry(source: Path, target: Path, links: dict[int, Path], shift: Shift) -> None:
    found = os.lstat(source)
    if found.st_nlink > 1 and found.st_ino in links:
        os.link(links[found.st_ino], target, follow_symlinks=False)
        return
    if stat.S_ISREG(found.st_mode):
        _copy_file(source, target, found.st_size)
    elif stat.S_ISLNK(found.st_mode):
        target.symlink_to(source.readlink())
    else:
        os.mknod(target, found.st_mode, found.st_rdev)
    copy_attributes(source, target, shift)
    if found.st_nlink > 1:
        links[found.st_ino] = target


def _copy_file(source: Path, target: Path, size: int) -> None:
    with source.open("rb", buffering=0) as reader, target.open("xb", buffering=0) as writer:
        try:
            fcntl.ioctl(writer, _FICLONE, reader.fileno())
        except OSError:  # no shared blocks on this file system
            os.truncate(writer.fileno(), size)
            for start, end in extents(reader.fileno(), size):
                _copy_range(reader.fileno(), writer.fileno(), start, end)


def _copy_range(reader: int, writer: int, start: int, end: int) -> None:
    while start < end:
        count = _copy_some(reader, writer, min(end - start, _COPY_BYTES), start)
        if count == 0:
            raise OSError(errno.EIO, "file became shorter while it was copied")
        start += count


def _copy_some(reader: int, writer: int, most: int, place: int) -> int:
    """Copy some bytes at a place, inside the kernel where both are on file systems that can."""
    try:
        return os.copy_file_range(reader, writer, most, place, place)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EOPNOTSUPP):
            raise
    return os.pwrite(writer, os.pread(reader, min(most, _PIECE), place), place)


@contextlib.contextmanager
def _directory(path: Path | str, parent: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, _OPEN_DIRECTORY, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
