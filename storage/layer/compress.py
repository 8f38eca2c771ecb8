"""A layer's tar, compressed on its way: the same bytes give the same blob, with the same libraries."""

import contextlib
import io
from collections.abc import Callable, Iterator
from typing import Any, Final

import zstandard
from isal import igzip

from storage.errors import InvalidArgumentError

COMPRESSIONS: Final = ("gzip", "zstd", "none")
_GZIP_LEVEL: Final = 3  # of 0 to 3: the smallest that isal makes, some ten times faster than zlib's 6
_ZSTD_LEVEL: Final = 3
_ZSTD_THREADS: Final = 2  # the frames do not depend on how many there are, once there are any
_gzip_file: Callable[..., Any] = igzip.IGzipFile  # the library's stubs leave it without types


@contextlib.contextmanager
def compressed(kind: str, write: Callable[[bytes], object]) -> Iterator[Callable[[bytes], object]]:
    """What is given to the function of the block goes to `write`, compressed; complete when the block ends.

    Raises:
        InvalidArgumentError: `kind` is none of `COMPRESSIONS`.
    """
    if kind == "none":
        yield write
    elif kind == "gzip":
        with _gzip_file("", "wb", _GZIP_LEVEL, _Writer(write), 0) as packing:
            yield packing.write
    elif kind == "zstd":
        compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, threads=_ZSTD_THREADS)
        with compressor.stream_writer(_Writer(write), closefd=False) as stream:  # type: ignore[arg-type]
            yield stream.write
    else:
        raise InvalidArgumentError(f"compression {kind[:40]!r} is none of {', '.join(COMPRESSIONS)}")


class _Writer(io.RawIOBase):
    """A function as a file."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._write(bytes(data))
        return len(data)
