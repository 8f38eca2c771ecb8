"""A bounded, forward-only tar reader.

It never seeks, holds one chunk and one header's worth of data, and does work in proportion to the bytes
read: every loop consumes input, every header counts against a limit. Entries come out with their extension
headers applied; bodies are views of the chunk they arrived in, so a small file costs no copy.
"""

import os
from collections.abc import Callable, Iterator

from storage.errors import InvalidArgumentError
from storage.layer import header, pax, sparse
from storage.layer.header import BLOCK, Entry, Kind
from storage.layer.limits import DEFAULT_LIMITS, Limits

_PAX, _PAX_SOLARIS, _PAX_GLOBAL = b"x", b"X", b"g"
_LONG_NAME, _LONG_LINK = b"L", b"K"
_EXTENSIONS = frozenset({_PAX, _PAX_SOLARIS, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK})
_OLD_SPARSE = b"S"


class TarReader:
    """Entries of a tar, one after the other; `body` gives the stored bytes of the one last returned.

    Args:
        next_chunk: The next piece of the uncompressed tar, of any size; empty at its end.
        limits: Caps on headers, names and bytes.

    All methods raise InvalidArgumentError for what is malformed, cut off or beyond a limit.
    """

    def __init__(self, next_chunk: Callable[[], bytes], limits: Limits = DEFAULT_LIMITS) -> None:
        self._next_chunk = next_chunk
        self._limits = limits
        self._chunk = memoryview(b"")
        self._position = 0
        self._left = 0  # of the current body
        self._padding = 0
        self.headers = 0

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self.next()) is not None:
            yield entry

    def next(self) -> Entry | None:
        """The next entry, or None behind the last one; what is unread of the current body is skipped."""
        extension: pax.Extension | None = None
        long_name = long_link = b""
        while True:
            self._skip(self._left + self._padding)
            self._left = self._padding = 0
            block = self._header()
            if block is None:
                if extension or long_name or long_link:
                    raise InvalidArgumentError("layer tar: ends behind an extension header")
                return None
            flag, entry = header.parse(block)
            if flag not in _EXTENSIONS:
                return self._finish(flag, entry, block, extension, long_name, long_link)
            data = self._extension(entry)
            if flag in (_PAX, _PAX_SOLARIS):
                extension = pax.Extension(data)
            elif flag == _LONG_NAME:
                long_name = header.text(data)
            elif flag == _LONG_LINK:
                long_link = header.text(data)

    def body(self) -> Iterator[memoryview]:
        """What is left of the current entry's stored bytes, in pieces no larger than a chunk."""
        return self.read(self._left)

    def read(self, size: int) -> Iterator[memoryview]:
        """The next `size` stored bytes of the current entry, in pieces. Views stay valid for ever."""
        if size > self._left:
            raise InvalidArgumentError("layer tar: more is asked of an entry than it stores")
        self._left -= size
        while size:
            piece = self._piece(size)
            size -= len(piece)
            yield piece

    def _finish(
        self,
        flag: bytes,
        entry: Entry,
        block: bytes,
        extension: pax.Extension | None,
        long_name: bytes,
        long_link: bytes,
    ) -> Entry:
        """Apply extension headers to `entry` and set up the reading of its body."""
        if flag not in header.KINDS:
            raise InvalidArgumentError(f"layer entry {header.shown(entry.name)}: unknown tar type {flag!r}")
        if extension:
            extension.amend(entry)
        entry.name = long_name or entry.name
        entry.link = long_link or entry.link
        header.check_ranges(entry, self._limits.path_bytes)
        if entry.kind is not Kind.REGULAR:
            entry.size = 0  # a size in the header of a link or directory announces no data
            return entry
        self._open_body(flag, entry, block, extension)
        if flag == b"\0" and entry.name.endswith(b"/"):
            entry.kind = Kind.DIRECTORY  # v7 had no other way to say so
        return entry

    def _open_body(self, flag: bytes, entry: Entry, block: bytes, extension: pax.Extension | None) -> None:
        entry.stored = entry.size
        self._padding = -entry.size % BLOCK
        map_bytes = self._limits.header_bytes
        if flag == _OLD_SPARSE:
            sparse.read_old_gnu(entry, block, self._block, map_bytes)
        elif extension and sparse.is_version_1(extension):
            sparse.read_version_1(entry, extension, self._block, map_bytes)
        elif extension:
            sparse.read_pax_records(entry, extension)
        self._left = entry.stored
        if entry.sparse is not None:
            header.check_ranges(entry, self._limits.path_bytes)
        if entry.size > self._limits.total_bytes:
            raise InvalidArgumentError(
                f"layer entry {header.shown(entry.name)}: {entry.size} bytes, above the limit of "
                f"{self._limits.total_bytes}"
            )

    def _header(self) -> bytes | None:
        """The next header block; None at the end of the archive or of the stream."""
        self.headers += 1
        if self.headers > self._limits.entries:
            raise InvalidArgumentError(f"layer tar: more than {self._limits.entries} headers")
        if not self._available():
            return None
        block = self._block()
        if block != header.ZERO_BLOCK:
            return block
        if self._available() and self._block() != header.ZERO_BLOCK:
            raise InvalidArgumentError("layer tar: a lone zero block stands between entries")
        return None

    def _extension(self, entry: Entry) -> bytes:
        """The text of an extension header."""
        if not 0 <= entry.size <= self._limits.header_bytes:
            raise InvalidArgumentError(
                f"layer tar: extension header of {entry.size} bytes, at most {self._limits.header_bytes} are "
                "accepted"
            )
        self._padding = -entry.size % BLOCK
        return self._take(entry.size)

    def _block(self) -> bytes:
        return self._take(BLOCK)

    def _take(self, size: int) -> bytes:
        """Exactly `size` bytes; only for what a limit bounds."""
        start = self._position
        if start + size <= len(self._chunk):
            self._position = start + size
            return bytes(self._chunk[start : start + size])
        pieces = []
        while size:
            piece = self._piece(size)
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _skip(self, size: int) -> None:
        while size:
            size -= len(self._piece(size))

    def _piece(self, size: int) -> memoryview:
        """Some of the next `size` bytes, at least one."""
        if not self._available():
            raise InvalidArgumentError("layer tar: ends in the middle of an entry, the layer is cut off")
        start = self._position
        piece = self._chunk[start : start + size]
        self._position = start + len(piece)
        return piece

    def _available(self) -> int:
        """Bytes at hand, at least one unless the stream has ended."""
        if self._position == len(self._chunk):
            self._chunk = memoryview(self._next_chunk())
            self._position = 0
        return len(self._chunk) - self._position


def write_body(fd: int, entry: Entry, reader: TarReader) -> None:
    """Write the content of the entry last returned to an empty file, with its holes."""
    if entry.sparse is None:
        for piece in reader.body():
            _write(fd, piece)
        return
    os.ftruncate(fd, entry.size)
    for offset, length in entry.sparse:
        os.lseek(fd, offset, os.SEEK_SET)
        for piece in reader.read(length):
            _write(fd, piece)


def _write(fd: int, data: memoryview) -> None:
    """Write all of it; the kernel may take less at a time."""
    while data:
        data = data[os.write(fd, data) :]
