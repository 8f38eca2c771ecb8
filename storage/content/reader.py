"""Reading with verification: bytes that are not what their digest says never pass for good."""

import io
from typing import BinaryIO

from storage.digest import Digest, Verifier
from storage.errors import InvalidArgumentError, StorageError


class VerifiedReader(io.RawIOBase):
    """A forward-only stream that compares all it gives out with a digest and a size.

    The reader has verified content when, and not before, it has got the end of the stream (b"") without
    an error. Closing it closes the stream below.
    """

    def __init__(self, stream: BinaryIO, digest: Digest, size: int) -> None:
        super().__init__()
        self._stream = stream
        self._verifier = Verifier(digest, size)

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]  # io asks for the broad Buffer
        """Fill `buffer`; 0 is the end.

        Raises:
            StorageError: There is more content, less, or other content than the digest and size say.
        """
        view = memoryview(buffer).cast("B")
        chunk = self._stream.read(len(view))
        try:
            self._verifier.update(chunk)
            if view and not chunk:
                self._verifier.check()
        except InvalidArgumentError as error:
            raise StorageError(
                f"blob {self._verifier.expected} is damaged ({error}): delete it and fetch it again"
            ) from error
        view[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        """Close this and the stream below."""
        self._stream.close()
        super().close()
