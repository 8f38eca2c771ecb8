"""Parts of an ingest that arrive before their turn, so that one blob can come over several connections.

A blob is cut into windows of equal size. The writer of the ingest appends to `data` in order, whichever
window that is; others fill windows further on, each in a file `part-N` of its own beside `data`, which the
writer takes over when its turn comes. How far a file has come is its size, and nothing else says so: whoever
is killed at any moment leaves exactly what was written, and nobody fetches that again.

Window and length are read under one lock, since what is measured and not yet claimed would be fetched twice.
"""

import os
import re
import threading
from pathlib import Path
from typing import Final

from storage.content.disk import CHUNK, PRIVATE_FILE, reported

_NAME: Final = re.compile(r"part-([0-9]{1,12})")
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class Parts:
    """The windows of one blob of `size` bytes; the ingest's writer is its only owner, in several threads.

    Attributes:
        window: bytes in each window but the last.
    """

    def __init__(self, directory: Path, size: int, window: int, offset: int) -> None:
        """Take up the parts that an earlier owner left in `directory`; those of other windows go.

        The writer is at `offset`: the window around it is the writer's own.
        """
        self.window = window
        self._size = size
        self._directory = directory
        self._changed = threading.Condition()
        self._claimed: set[int] = set()
        self._first_free = offset // window + 1  # windows before it are the writer's
        self._closed = False
        with reported(f"look for parts in {directory.name}", self._directory):
            self._lengths = self._left_over()

    def span(self, number: int) -> tuple[int, int]:
        """Where a window begins and ends in the blob."""
        return number * self.window, min((number + 1) * self.window, self._size)

    def claim(self) -> int | None:
        """The first window that nobody works at and that is not whole yet; None when there is none."""
        with self._changed:
            for number in range(self._first_free, -(-self._size // self.window)):
                if self._closed:
                    return None
                start, end = self.span(number)
                if number not in self._claimed and self._lengths.get(number, 0) < end - start:
                    self._claimed.add(number)
                    return number
        return None

    def release(self, number: int) -> None:
        """Whoever claimed it is done with it, or has given up."""
        with self._changed:
            self._claimed.discard(number)
            self._changed.notify_all()

    def length(self, number: int) -> int:
        """How much of a window has come in a part."""
        with self._changed:
            return self._lengths.get(number, 0)

    def append(self, number: int, chunk: bytes) -> None:
        """Add to the part of a claimed window. Raises UnavailableError when the disk is full."""
        with reported(f"write part {number} of {self._directory.name}", self._directory):
            descriptor = os.open(self._path(number), _FLAGS, PRIVATE_FILE)
            try:
                rest = memoryview(chunk)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                length = os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
        with self._changed:
            self._lengths[number] = length
            self._changed.notify_all()

    def next_for_writer(self, offset: int, *, wait: float) -> tuple[bytes, bool]:
        """What follows `offset` in its window's part, and whether somebody is still filling that window.

        Nobody can claim this window or one before it any more. Waits up to `wait` seconds for a part that is
        being filled to grow.
        """
        number = offset // self.window
        skip = offset - number * self.window
        with self._changed:
            self._first_free = number + 1
            if number in self._claimed and self._lengths.get(number, 0) <= skip:
                self._changed.wait(wait)
            length, filling = self._lengths.get(number, 0), number in self._claimed
        if length <= skip:
            return b"", filling
        with reported(f"read part {number} of {self._directory.name}"):
            descriptor = os.open(self._path(number), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                return os.pread(descriptor, min(CHUNK, length - skip), skip), filling
            finally:
                os.close(descriptor)

    def remove(self, number: int) -> None:
        """Its bytes are in the data: the part is not needed any more."""
        with self._changed:
            known = self._lengths.pop(number, None)
        if known is not None:
            self._path(number).unlink(missing_ok=True)

    def close(self) -> None:
        """No more windows are given out."""
        with self._changed:
            self._closed = True

    def _path(self, number: int) -> Path:
        return self._directory / f"part-{number}"

    def _left_over(self) -> dict[int, int]:
        """The parts that are there, if they were cut in windows of this size; else none, and they go."""
        note = self._directory / "window"
        cut_alike = note.exists() and note.read_text() == str(self.window)
        found = {}
        for path in self._directory.iterdir():
            name = _NAME.fullmatch(path.name)
            if name is None:
                continue
            if cut_alike:
                found[int(name[1])] = path.stat().st_size
            else:
                path.unlink()
        if not cut_alike:
            note.write_text(str(self.window))
        return found
