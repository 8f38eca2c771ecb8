"""The uncompressed stream on its way to the tar reader: cut in chunks, counted and hashed.

The digest covers every byte to the end of the stream, also what stands behind the end of the archive: that
is what a diff ID names (image-spec, config.md, "Layer DiffID"). Decompression and hashing run in a thread of
their own, a few chunks ahead: both let go of the interpreter's lock, as does the writing of files, so that
the two halves of the work share two processors.
"""

import hashlib
import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from storage.errors import InvalidArgumentError, StorageError
from storage.layer.compression import READ_BYTES, Readable
from storage.layer.limits import Limits

Progress = Callable[[int], None]
"""Called with the uncompressed bytes read so far, about once a chunk."""

_CHUNKS_AHEAD = 4


class ChunkSource:
    """Chunks of `stream`, which is read by nobody else between entering and leaving the context.

    Leaving waits for a read that is under way.
    """

    def __init__(self, stream: Readable, limits: Limits, on_progress: Progress | None = None) -> None:
        self._stream = stream
        self._limit = limits.total_bytes
        self._on_progress = on_progress
        self._hash = hashlib.sha256()
        self._ahead: queue.Queue[bytes | BaseException] = queue.Queue(_CHUNKS_AHEAD)
        self._left = threading.Event()
        self._reader = threading.Thread(target=self._read_ahead, name="layer-reader", daemon=True)
        self._ended = False
        self.size = 0

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._left.set()
        while self._reader.is_alive():  # it may be waiting for room
            try:
                self._ahead.get(timeout=0.01)
            except queue.Empty:
                continue
        self._reader.join()

    def _read_ahead(self) -> None:
        """Read and hash until the end, an error, or until nobody wants more."""
        try:
            while not self._left.is_set():
                chunk = self._stream.read(READ_BYTES)
                self._hash.update(chunk)
                self._ahead.put(chunk)
                if not chunk:
                    return
        except BaseException as error:  # noqa: BLE001  # raised again where the chunks are used
            self._ahead.put(error)

    def next_chunk(self) -> bytes:
        """The next bytes; none at the end.

        Raises:
            InvalidArgumentError: The stream is longer than the limit.
            StorageError: The stream cannot be read; its own storage errors come as they are.
        """
        if self._ended:
            return b""
        chunk = self._ahead.get()
        if isinstance(chunk, BaseException):
            self._ended = True
            if isinstance(chunk, OSError):
                raise StorageError(f"layer stream: cannot be read ({chunk.strerror or chunk})") from chunk
            raise chunk
        self._ended = not chunk
        self.size += len(chunk)
        if self.size > self._limit:
            raise InvalidArgumentError(f"layer tar: longer than {self._limit} bytes")
        if self._on_progress and chunk:
            self._on_progress(self.size)
        return chunk

    def finish(self) -> str:
        """Read to the end and return the digest of everything, `sha256:` and 64 digits."""
        while self.next_chunk():
            pass
        return f"sha256:{self._hash.hexdigest()}"
