"""Output of a container's process: FIFOs that it writes to, files that keep what it wrote.

What makes it crash-proof:
- The process itself holds both ends of its FIFO, so a reader's death never gives it EPIPE or SIGPIPE: it
  writes on until the FIFO is full, then waits for the next reader.
- Bytes go from FIFO to file by splice(2), inside the kernel: killed at any moment, each byte is in the
  FIFO or in the file, in one of them, once.
- The index says when the bytes came and in which order both streams grew. It is written after the bytes;
  what a crash left out of it is entered at the next start.
- A log with limits loses its oldest part; see actors/runtime/cutting.py. Offsets stay what they were.
- On a full disk nothing moves: the bytes wait in the FIFO, and then the process, until there is room.
"""

import contextlib
import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from actors.linux import holes
from actors.linux.descriptors import closed_on_failure
from actors.runtime.cutting import CUT, Cut, Limits, note, noted

STDOUT, STDERR = 1, 2
NAMES = {STDOUT: "stdout", STDERR: "stderr"}
INDEX = "index"
ONE_COPY = 1 << 20  # bytes moved before others have their turn
PIPE_SIZE = 1 << 18
_RECORD = struct.Struct("=QQII")  # nanoseconds, end offset, stream, 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of bytes of one stream, as the index has it; `at` in nanoseconds since the epoch.

    Attributes:
        cut: bytes before `start` that the reader had not had and that are no longer there. The chunk is
            empty then.
    """

    stream: int
    start: int
    end: int
    at: int
    cut: int = 0


class Output:
    """The copying side: one for each process, used by one thread at a time."""

    def __init__(self, pipes: Path, files: Path, limits: Limits | None = None) -> None:
        """Make what is missing in both directories, open all of it, and complete the index.

        `limits`: how much of it is kept; without, all.
        """
        pipes.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.mkdir(mode=0o700, parents=True, exist_ok=True)
        with closed_on_failure() as keep:
            self._pipes = {stream: keep(_open_fifo(pipes / name)) for stream, name in NAMES.items()}
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._files = {
                stream: keep(os.open(files / name, flags, 0o600)) for stream, name in NAMES.items()
            }
            self._index = keep(os.open(files / INDEX, flags | os.O_APPEND, 0o600))
            self._note = keep(os.open(files / CUT, flags, 0o600))
            self.limits = limits
            self._sizes = {stream: os.fstat(file).st_size for stream, file in self._files.items()}
            self._cut = self._believed(noted(self._note))
            self._entered = self._cut.starts
            self._complete_index()
            self._punch()

    @property
    def descriptors(self) -> dict[int, int]:
        """The reading ends, by stream: for a poller."""
        return dict(self._pipes)

    def writing_ends(self, pipes: Path) -> dict[int, int]:
        """New descriptors for the process, open for both directions; the caller closes its copies."""
        with closed_on_failure() as keep:
            flags = os.O_RDWR | os.O_CLOEXEC
            return {stream: keep(os.open(pipes / name, flags)) for stream, name in NAMES.items()}

    def copy(self, stream: int) -> int:
        """Move what waits in the FIFO to the file; returns the bytes that came into the index, 0 for none.

        Raises:
            OSError: the disk is full, say: what could not be moved or entered is so by a later call.
        """
        try:
            self._move(stream)
        finally:
            entered = self._enter(stream)
            if entered and self.limits is not None:
                self._keep_within(self.limits)
        return entered

    def _move(self, stream: int) -> None:
        until = self._sizes[stream] + ONE_COPY
        while (size := self._sizes[stream]) < until:
            try:
                count = os.splice(self._pipes[stream], self._files[stream], ONE_COPY, offset_dst=size)
            except BlockingIOError:
                return
            if count == 0:
                return
            self._sizes[stream] = size + count

    def drain(self) -> None:
        """Move everything that is left; for when nobody writes any more."""
        for stream in NAMES:
            while self.copy(stream):
                pass

    def empty(self) -> None:
        """Throw away what waits in the FIFOs: at most what they hold."""
        for pipe in self._pipes.values():
            with contextlib.suppress(BlockingIOError):
                os.read(pipe, PIPE_SIZE)

    def close(self) -> None:
        """Close the descriptors; FIFOs and files stay."""
        for descriptor in (*self._pipes.values(), *self._files.values(), self._index, self._note):
            os.close(descriptor)

    def _believed(self, cut: Cut) -> Cut:
        """A power cut may leave a note of more than came to the disk: such a log begins at its beginning."""
        sizes = {**self._sizes, 0: os.fstat(self._index).st_size}
        if all(start <= sizes[stream] for stream, start in {**cut.starts, 0: cut.index}.items()):
            return cut
        note(self._note, Cut())
        return Cut()

    def _keep_within(self, limits: Limits) -> None:
        starts = self._cut.starts
        kept = sum(size - starts[stream] for stream, size in self._sizes.items())
        kept += os.fstat(self._index).st_size - self._cut.index
        if kept > limits.most:
            self._cut = self._without(kept - limits.kept)
            note(self._note, self._cut)
            self._punch()

    def _without(self, excess: int) -> Cut:
        """The cut that leaves out so many more of the oldest bytes."""
        starts, position = self._cut.starts, self._cut.index
        for _, end, stream, _ in _records(self._index, position):
            if excess <= 0:
                break
            if stream in starts:
                part = min(end - starts[stream], excess)
                starts[stream] += part
                excess -= part
                if starts[stream] < end:
                    break
            position += _RECORD.size
            excess -= _RECORD.size
        return Cut(position, starts[STDOUT], starts[STDERR])

    def _punch(self) -> None:
        """Free what is cut off. Where the file system has no holes, it is only no longer shown."""
        with contextlib.suppress(OSError):
            holes.punch(self._index, self._cut.index)
            for stream, start in self._cut.starts.items():
                holes.punch(self._files[stream], start)

    def _enter(self, stream: int) -> int:
        """What has been moved and is not in the index: how much that was."""
        size = self._sizes[stream]
        fresh = size - self._entered[stream]
        if fresh:
            self._append(_RECORD.pack(time.time_ns(), size, stream, 0))
            self._entered[stream] = size
        return fresh

    def _append(self, record: bytes) -> None:
        """Whole or not at all: half a record would put all that follow out of step."""
        written = os.write(self._index, record)
        if written < len(record):
            os.ftruncate(self._index, os.fstat(self._index).st_size - written)
            raise OSError(errno.ENOSPC, "no room for the index of the output")

    def _complete_index(self) -> None:
        """A crash between bytes and index leaves a tail without an entry, or half of one.

        On a full disk the tail is entered with what comes next.
        """
        whole = os.fstat(self._index).st_size // _RECORD.size * _RECORD.size
        os.ftruncate(self._index, whole)
        for record in _records(self._index, self._cut.index):
            if record[2] in self._entered:  # a power cut leaves zeros where a record was on its way
                self._entered[record[2]] = record[1]
        for stream in self._sizes:
            with contextlib.suppress(OSError):
                self._enter(stream)


class Reader:
    """Reads the kept output from given offsets on, in the order in which it came."""

    def __init__(self, files: Path, offsets: dict[int, int]) -> None:
        """`offsets` says how much of each stream the reader has already."""
        with closed_on_failure() as keep:
            self._files = {stream: keep(os.open(files / name, os.O_RDONLY)) for stream, name in NAMES.items()}
            self._index = keep(os.open(files / INDEX, os.O_RDONLY))
            self._note = keep(os.open(files / CUT, os.O_RDONLY | os.O_CREAT, 0o600))
        self._cut = Cut()
        self._lost: list[tuple[Chunk, bytes]] = []
        self._wanted = dict(offsets)
        self._ends = dict.fromkeys(NAMES, 0)
        self._position = 0

    def next(self, limit: int) -> tuple[Chunk, bytes] | None:
        """The next bytes, at most `limit` of them, or a chunk that says what was cut; None for no more now.

        What was read while a cut was made is not believed.
        """
        while True:
            self._heed(noted(self._note))
            if self._lost:
                return self._lost.pop(0)
            before = self._wanted.copy(), self._ends.copy(), self._position
            found = self._read(limit)
            if noted(self._note) == self._cut:
                return found
            self._wanted, self._ends, self._position = before

    def _heed(self, cut: Cut) -> None:
        """Go on behind a new cut."""
        if cut == self._cut:
            return
        self._cut = cut
        self._position = max(self._position, cut.index)
        for stream, start in cut.starts.items():
            self._ends[stream] = max(self._ends[stream], start)
            if self._wanted[stream] < start:
                self._lost.append((Chunk(stream, start, start, 0, start - self._wanted[stream]), b""))
                self._wanted[stream] = start

    def _read(self, limit: int) -> tuple[Chunk, bytes] | None:
        for at, end, stream, _ in _records(self._index, self._position):
            if stream not in NAMES:  # a power cut leaves zeros where a record was on its way
                self._position += _RECORD.size
                continue
            start = max(self._ends[stream], self._wanted[stream])
            if start >= end:
                self._passed(stream, end)
                continue
            found = os.pread(self._files[stream], min(limit, end - start), start)
            if not found:  # cut short by hand
                self._passed(stream, end)
                continue
            self._wanted[stream] = start + len(found)
            if self._wanted[stream] == end:
                self._passed(stream, end)
            return Chunk(stream, start, start + len(found), at), found
        return None

    def _passed(self, stream: int, end: int) -> None:
        self._ends[stream] = end
        self._position += _RECORD.size

    def close(self) -> None:
        """Close the files."""
        for descriptor in (*self._files.values(), self._index, self._note):
            os.close(descriptor)


def touch(files: Path) -> None:
    """Make the files of a process that has not written yet, so that they can be read."""
    files.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in (*NAMES.values(), INDEX, CUT):
        (files / name).touch(mode=0o600)


def last_bytes(files: Path, count: int) -> dict[int, int]:
    """Offsets from which on at most so many bytes of each stream are there."""
    with (files / CUT).open("rb") as file:
        starts = noted(file.fileno()).starts
    return {
        stream: max(starts[stream], (files / name).stat().st_size - count) for stream, name in NAMES.items()
    }


def _records(index: int, position: int) -> Iterator[tuple[int, int, int, int]]:
    while True:
        block = os.pread(index, _RECORD.size * 64, position)
        whole = len(block) // _RECORD.size * _RECORD.size
        if not whole:
            return
        yield from _RECORD.iter_unpack(block[:whole])
        position += whole


def _open_fifo(path: Path) -> int:
    """Both directions, so that it never comes to an end while a process may still open it."""
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    with closed_on_failure() as keep:
        descriptor = keep(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        return descriptor
