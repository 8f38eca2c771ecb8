"""Where a log begins, once its oldest part has been cut off to keep it within its limits.

Offsets never change: the cut is noted in a small file, then the bytes before it become holes. Killed before
the note, nothing is cut; killed behind it, the next to open the log punches the holes again.
"""

import os
import struct
import zlib
from dataclasses import dataclass

CUT = "cut"
_NOTE = struct.Struct("=QQQI")  # the fields of Cut, and a checksum of them
TRIES = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """A log of at most `size` times `count` bytes, index and all, cut `size` bytes at a time."""

    size: int
    count: int

    @property
    def most(self) -> int:
        """Bytes at which a piece is cut off."""
        return self.size * self.count

    @property
    def kept(self) -> int:
        """Bytes that are left then."""
        return self.size * (self.count - 1)


@dataclass(frozen=True, slots=True)
class Cut:
    """First bytes that are still there: of the index, of standard output and of standard error."""

    index: int = 0
    stdout: int = 0
    stderr: int = 0

    @property
    def starts(self) -> dict[int, int]:
        """Of the two streams, by number."""
        return {1: self.stdout, 2: self.stderr}


def note(descriptor: int, cut: Cut) -> None:
    """Write it down, on the disk before this returns: what it names is about to be gone."""
    fields = (cut.index, cut.stdout, cut.stderr)
    os.pwrite(descriptor, _NOTE.pack(*fields, zlib.crc32(repr(fields).encode())), 0)
    os.fdatasync(descriptor)


def noted(descriptor: int) -> Cut:
    """The cut of a log; none if the note makes no sense, which only a power cut can do.

    A reader may meet the writer in the middle of it, and looks again.
    """
    for _ in range(TRIES):
        found = os.pread(descriptor, _NOTE.size, 0)
        if len(found) < _NOTE.size:
            return Cut()
        *fields, checksum = _NOTE.unpack(found)
        if zlib.crc32(repr(tuple(fields)).encode()) == checksum:
            return Cut(*fields)
    return Cut()
