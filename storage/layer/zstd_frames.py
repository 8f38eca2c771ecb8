"""Where a zstd stream's frames and blocks begin and end, without decompressing anything.

The decompressor takes the end of its input for the end of the data, so a blob that was cut off would pass
as a shorter one. This walk over the block headers tells whether input ended between frames, and refuses
what is no frame. Source: RFC 8878, sections 3.1.1 and 3.1.2.
"""

from storage.errors import InvalidArgumentError

MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = 0x184D2A50
_RAW_OR_COMPRESSED, _RLE = (0, 2), 1
_DICTIONARY_BYTES = (0, 1, 2, 4)
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)


def is_skippable(magic: bytes) -> bool:
    """Whether four bytes open a skippable frame."""
    return int.from_bytes(magic, "little") & 0xFFFFFFF0 == _SKIPPABLE


class FrameWalk:
    """Follows a stream fed to it in pieces. `complete` is true between frames."""

    def __init__(self) -> None:
        self._skip = 0  # bytes whose content does not matter here
        self._held = b""  # the beginning of a field that is not complete yet
        self._wanted = 4
        self._field = self._magic
        self._checksum = False

    @property
    def complete(self) -> bool:
        """Whether the stream may end here."""
        return not self._skip and not self._held and self._field == self._magic

    def feed(self, data: bytes | memoryview) -> None:
        """Follow one more piece.

        Raises:
            InvalidArgumentError: Something else than a frame or block begins where one should.
        """
        position, end = 0, len(data)
        while position < end:
            if self._skip:
                step = min(self._skip, end - position)
                self._skip -= step
                position += step
                continue
            piece = bytes(data[position : position + self._wanted - len(self._held)])
            position += len(piece)
            self._held += piece
            if len(self._held) == self._wanted:
                held, self._held = self._held, b""
                self._field(held)

    def _expect_frame(self) -> None:
        self._field, self._wanted = self._magic, 4

    def _magic(self, raw: bytes) -> None:
        if raw == MAGIC:
            self._field, self._wanted = self._descriptor, 1
        elif is_skippable(raw):
            self._field, self._wanted = self._skippable_size, 4
        else:
            raise InvalidArgumentError("zstd blob: garbage where a frame should begin")

    def _skippable_size(self, raw: bytes) -> None:
        self._skip = int.from_bytes(raw, "little")
        self._expect_frame()

    def _descriptor(self, raw: bytes) -> None:
        flags = raw[0]
        single_segment = flags >> 5 & 1
        self._checksum = bool(flags >> 2 & 1)
        content_size = _CONTENT_SIZE_BYTES[flags >> 6] or single_segment
        self._skip = (1 - single_segment) + _DICTIONARY_BYTES[flags & 3] + content_size
        self._field, self._wanted = self._block, 3

    def _block(self, raw: bytes) -> None:
        word = int.from_bytes(raw, "little")
        last, kind, size = word & 1, word >> 1 & 3, word >> 3
        if kind in _RAW_OR_COMPRESSED:
            self._skip = size
        elif kind == _RLE:
            self._skip = 1
        else:
            raise InvalidArgumentError("zstd blob: a block has the reserved type")
        if last:
            self._skip += 4 * self._checksum
            self._expect_frame()
