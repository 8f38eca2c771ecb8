"""Which memory a process has made its own since it was forked, and making it one's own before it is needed.

After a fork parent and child share their pages; the first write to each costs a fault and a copy, 2.6
microseconds (measured), and a container's actor writes to two thousand, counting references. Children of one
parent write to the same ones, so one that has started can tell those that wait for their turn.
"""

import array
import ctypes
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path

from actors.linux.libc import libc

Range = tuple[int, int]  # the first page's number, and how many there are

_MADV_POPULATE_WRITE = 23  # Linux 5.14; madvise(2)
_EXCLUSIVE = 1 << 56  # no other process maps it: Documentation/admin-guide/mm/pagemap.rst
_PRESENT = 1 << 63
_GAP = 1  # pages between two ranges that are made one's own with them
_MOST_RANGES = 4096


def writable() -> Iterator[Range]:
    """The private writable mappings of this process."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, permissions, *_ = line.split(maxsplit=2)
        if permissions == "rw-p":
            first, end = (int(one, 16) // mmap.PAGESIZE for one in addresses.split("-"))
            yield first, end - first


def own(mappings: Iterable[Range]) -> list[Range]:
    """The pages of these mappings that this process shares with no other."""
    found: list[Range] = []
    with Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
        for first, count in mappings:
            pagemap.seek(first * 8)
            flags = array.array("Q", pagemap.read(8 * count))
            for page, word in enumerate(flags, first):
                if word & _EXCLUSIVE and word & _PRESENT:
                    _extend(found, page)
    return found[:_MOST_RANGES]


def _extend(found: list[Range], page: int) -> None:
    if found and page - sum(found[-1]) <= _GAP:
        found[-1] = (found[-1][0], page - found[-1][0] + 1)
    else:
        found.append((page, 1))


def make_own(ranges: Iterable[Range]) -> None:
    """Write to these pages, as it were; what is not mapped, or an older kernel cannot do, is left out."""
    size = mmap.PAGESIZE
    for first, count in ranges:
        libc.madvise(ctypes.c_void_p(first * size), ctypes.c_size_t(count * size), _MADV_POPULATE_WRITE)
