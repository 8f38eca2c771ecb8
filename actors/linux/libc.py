"""The one handle on the C library, and the rule that a failed call is an OSError.

The standard library has no `prctl`, `mount`, `umount2` or `unshare` in Python 3.11; the modules beside this
one give each of them a wrapper of a few lines.
"""

import ctypes
import os
from collections.abc import Callable
from typing import Any

libc = ctypes.CDLL(None, use_errno=True)
"""`use_errno` keeps a private copy of errno per thread, so that the interpreter cannot overwrite it."""


def one_malloc_arena() -> None:
    """Let all threads share glibc's main heap (mallopt(3), M_ARENA_MAX).

    A heap for each thread is faster where many threads allocate at once; in a process with three threads
    that are mostly asleep it is memory that nobody uses.
    """
    libc.mallopt(-8, 1)


def keep_freed_memory(most: int) -> None:
    """Let the allocator keep up to `most` freed bytes (mallopt(3), M_TRIM_THRESHOLD and M_MMAP_THRESHOLD).

    Large buffers that come and go are otherwise given back to the kernel, and each time cleared by it and
    faulted in page by page.
    """
    libc.mallopt(-1, most)
    libc.mallopt(-3, most)


def checked(function: Callable[..., Any], *arguments: Any, about: str | None = None) -> int:
    """Call a libc function that answers -1 on failure.

    `about` is the file name that the error carries, where there is one.

    Raises:
        OSError: with the call's errno (and so PermissionError, FileNotFoundError and their kin).
    """
    result = int(function(*arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), about)
    return result
