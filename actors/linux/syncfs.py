"""syncfs(2): one call that makes all of a filesystem durable, instead of one for each file."""

import os
from pathlib import Path

from actors.linux.libc import checked, libc


def syncfs(fd: int) -> None:
    """Write out the filesystem that `fd` is on.

    Raises:
        OSError: with the call's errno; EIO and ENOSPC when something could not be written.
    """
    checked(libc.syncfs, fd)


def sync_filesystem(directory: Path) -> None:
    """Write out the filesystem that `directory` is on. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        syncfs(descriptor)
    finally:
        os.close(descriptor)
