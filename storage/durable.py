"""What is written survives a loss of power only once the disk has been told to keep it."""

import os
from pathlib import Path


def sync_file(path: Path) -> None:
    """Make what is in a file durable."""
    _sync(path, 0)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    _sync(path, os.O_DIRECTORY)


def sync_names(directory: Path) -> None:
    """Make durable what a directory's names and its own name are, whoever has made it just now.

    Also where it was there already: whoever made it may have been killed before he came to this.
    """
    for one in (directory, directory.absolute().parent):
        sync_directory(one)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
