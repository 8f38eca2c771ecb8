"""What the start of a command needs of `os`, without it: that module makes 25 abstract classes first.

They are a millisecond of each start, and a sixth of what the interpreter itself takes. The calls are
`posix`, which `os` wraps and which the interpreter holds ready; here is what `os` adds to them.
"""

import posix
import sys
from posix import urandom as random_id

__all__ = ["exists", "is_directory", "is_file", "is_set", "random_id", "variable"]

_KIND, _DIRECTORY, _FILE = 0o170000, 0o040000, 0o100000  # of a mode: its type, see inode(7)


def variable(name: str) -> str:
    """A variable of the environment, empty when it is not set. `os.environ` shows the same ones."""
    return posix.environ.get(_encoded(name), b"").decode(sys.getfilesystemencoding(), "surrogateescape")


def is_set(name: str) -> bool:
    """Whether a variable is set, be it to nothing."""
    return _encoded(name) in posix.environ


def _encoded(name: str) -> bytes:
    return name.encode(sys.getfilesystemencoding(), "surrogateescape")


def exists(path: str) -> bool:
    """Whether something is there that we may see."""
    return _kind(path) != 0


def is_directory(path: str) -> bool:
    """Whether it is a directory, be it by way of a link."""
    return _kind(path) == _DIRECTORY


def is_file(path: str) -> bool:
    """Whether it is a regular file, be it by way of a link."""
    return _kind(path) == _FILE


def _kind(path: str) -> int:
    """The type of what is there, 0 for nothing."""
    try:
        return posix.stat(path).st_mode & _KIND
    except (OSError, ValueError):  # the latter for a path with a NUL
        return 0
