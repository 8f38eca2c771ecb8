"""A layer blob as the plain tar in it, whatever it is compressed with.

The first bytes decide, not the media type: Docker's unsuffixed types may be compressed, and registries
mislabel. Decompression is done here and by these two libraries only; no program found by PATH is ever run.
"""

import contextlib
import io
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Protocol, cast

import zstandard
from isal import igzip, isal_zlib

from storage.errors import InvalidArgumentError
from storage.layer import zstd_frames
from storage.layer.limits import DEFAULT_LIMITS, Limits

READ_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_MAGIC_BYTES = 4
_open_gzip: Callable[..., "Readable"] = igzip.open  # the library's stubs leave these two without types
_GZIP_ERRORS = (igzip.BadGzipFile, OverflowError, zlib.error, cast("type[Exception]", isal_zlib.error))


class Readable(Protocol):
    """What bytes come from: a file, a socket's file, another of these."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none only at the end."""


class PlainBlob:
    """The uncompressed stream; `compression` is what was found: "gzip", "zstd" or "" for none."""

    def __init__(self, compression: str, plain: Readable, source: "_Source", limits: Limits) -> None:
        self.compression = compression
        self._plain = plain
        self._source = source
        self._limits = limits
        self._total = 0

    def read(self, size: int = READ_BYTES, /) -> bytes:
        """At most `size` uncompressed bytes; none only at the end.

        Raises:
            InvalidArgumentError: The blob is damaged, cut off, followed by garbage, or grows beyond a limit.
        """
        with _reported():
            data = self._plain.read(size)
        self._total += len(data)
        if not data:
            self._source.check_end()
        self._check_size()
        return data

    def _check_size(self) -> None:
        limits = self._limits
        if self._total > limits.total_bytes:
            raise InvalidArgumentError(f"layer blob: more than {limits.total_bytes} bytes when uncompressed")
        if self._total > max(limits.ratio_floor, limits.ratio * self._source.taken):
            raise InvalidArgumentError(
                f"layer blob: {self._source.taken} bytes have become {self._total}, more than "
                f"{limits.ratio} for one; it is refused as a decompression bomb"
            )


def open_blob(raw: Readable, limits: Limits = DEFAULT_LIMITS) -> PlainBlob:
    """The plain content of `raw`, which is read from where it stands and stays the caller's to close."""
    source = _Source(raw)
    magic = source.peek(_MAGIC_BYTES)
    if magic.startswith(_GZIP_MAGIC):
        return PlainBlob("gzip", _open_gzip(source, "rb"), source, limits)
    if magic == zstd_frames.MAGIC or (len(magic) == _MAGIC_BYTES and zstd_frames.is_skippable(magic)):
        source.walk = zstd_frames.FrameWalk()
        decompressor = zstandard.ZstdDecompressor(max_window_size=limits.window_bytes)
        reader = decompressor.stream_reader(
            cast("IO[bytes]", source), READ_BYTES, read_across_frames=True, closefd=False
        )
        return PlainBlob("zstd", reader, source, limits)
    return PlainBlob("", source, source, limits)


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    """What the libraries raise for bad input, as our error. An OSError of the source passes."""
    try:
        yield
    except EOFError as error:
        raise InvalidArgumentError("gzip blob: is cut off") from error
    except _GZIP_ERRORS as error:
        raise InvalidArgumentError(f"gzip blob: is damaged or followed by garbage ({error})") from error
    except zstandard.ZstdError as error:
        raise InvalidArgumentError(f"zstd blob: is damaged or asks for too much memory ({error})") from error


class _Source(io.RawIOBase):
    """The compressed input: counts what was taken, gives peeked bytes back, lets a frame walk follow."""

    def __init__(self, raw: Readable) -> None:
        self._raw = raw
        self._peeked = b""
        self.taken = 0
        self.walk: zstd_frames.FrameWalk | None = None

    def peek(self, size: int) -> bytes:
        """The first bytes, which later reads return again."""
        while len(self._peeked) < size and (data := self._raw.read(size - len(self._peeked))):
            self._peeked += data
        return self._peeked

    def readable(self) -> bool:
        return True

    def read(self, size: int = READ_BYTES, /) -> bytes:
        if size < 0:
            raise io.UnsupportedOperation("reading all of a blob at once")
        if self._peeked:
            data, self._peeked = self._peeked[:size], self._peeked[size:]
        else:
            data = self._raw.read(size)
        self.taken += len(data)
        if self.walk:
            self.walk.feed(data)
        return data

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed asks for Buffer, 3.12
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def check_end(self) -> None:
        """Refuse an end that is not one."""
        if self.walk and not self.walk.complete:
            raise InvalidArgumentError("zstd blob: is cut off")
