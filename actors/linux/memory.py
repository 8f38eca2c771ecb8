"""Offer this process's memory to the kernel's same-page merging (KSM), madvise(2).

Counting references writes to pages, so what a fork shares at first becomes private as its code runs; yet most
of those pages end up the same in every container's actor. Where KSM runs (/sys/kernel/mm/ksm/run is 1), the
kernel finds such pages and keeps one of them. Where it does not, this changes nothing.

The mappings are named one by one. prctl(PR_SET_MEMORY_MERGE) would do it in one call, but what is said there
goes on to programs that are executed, and so to the containers, who have not agreed to it.
"""

import ctypes
import errno
from pathlib import Path

from actors.linux.libc import checked, libc

_MADV_MERGEABLE = 12
_PRIVATE = "rw-p"


def offer_for_merging() -> None:
    """Offer every private, writable mapping there is now; later ones are not.

    Again is no error, nor is a kernel without KSM.

    Raises:
        OSError: as madvise does; not for a mapping that has just gone.
    """
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, mode, _ = line.split(maxsplit=2)
        if mode == _PRIVATE:
            first, last = (int(end, 16) for end in span.split("-"))
            _offer(first, last - first)


def _offer(start: int, size: int) -> None:
    try:
        checked(libc.madvise, ctypes.c_void_p(start), ctypes.c_size_t(size), _MADV_MERGEABLE)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOMEM):  # no KSM in this kernel; no mapping any more
            raise
