"""A blob that is read while it arrives: decompression and unpacking do not wait for its last byte.

What is read here has no verified digest yet. It may be used for what is thrown away if the digest turns out
wrong, and for nothing else; `Arrival.wait` says how it turned out.
"""

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Self

from actors.layers import PIECE_BYTES
from storage.content import ContentStore
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.errors import UnavailableError

TURN = 0.1  # seconds between two checks of one who waits


class Arrival:
    """One blob on its way, written by one thread and read by others.

    `check` is called now and then by those who wait, and may raise to end that: the one who brings the blob
    may be stuck in a connection that brings nothing.

    Attributes:
        taken: bytes that a reader has taken so far.
        is_renewed: it was begun anew, since what came first was wrong: who has read that has to read again.
    """

    def __init__(self, store: ContentStore, digest: Digest, size: int, check: Callable[[], None]) -> None:
        self._store = store
        self._check = check
        self._digest = digest
        self._size = size
        self._changed = threading.Condition()
        self._path: Path | None = None
        self._offset = 0
        self._over = False
        self._error: Exception | None = None
        self.taken = 0
        self.is_renewed = False

    # The one who brings it

    def began(self, path: Path) -> None:
        """The bytes come in the file `path`."""
        with self._changed:
            self.is_renewed = self._path is not None
            self._path = path
            self._changed.notify_all()

    def advance(self, offset: int) -> None:
        """So many bytes are there."""
        with self._changed:
            self._offset = offset
            self._changed.notify_all()

    def end(self, error: Exception | None = None) -> None:
        """The blob is in the store, or will not come."""
        with self._changed:
            self._over, self._error = True, error
            self._offset = self._size
            self._changed.notify_all()

    # Those who want it

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come."""
        return self._over

    def wait(self) -> None:
        """Return when the blob is in the store, whole and verified; raise what went wrong otherwise."""
        with self._changed:
            self._await(lambda: self._over)
            if self._error is not None:
                raise self._error

    def open(self) -> "ArrivingFile":
        """The bytes from the first on, as soon as there is a file with some.

        Raises:
            RegistryError, StorageError, RemoteError: it will not come.
        """
        while True:
            with self._changed:
                self._await(lambda: self._over or (self._path is not None and self._offset > 0))
            path = None if self._over else self._path
            if path is None:
                self.wait()
                return ArrivingFile(self, self._store.open(self._digest))
            try:
                return ArrivingFile(self, path.open("rb", buffering=0))
            except FileNotFoundError:  # it has become a blob this very moment, or is begun anew
                with self._changed:
                    self._await(lambda: self._over)

    def _await(self, condition: Callable[[], bool]) -> None:
        while not self._changed.wait_for(condition, TURN):
            self._check()

    def available(self, position: int) -> bool:
        """Wait until there are bytes beyond `position`; False at the end. Raises what went wrong."""
        with self._changed:
            self._await(lambda: self._over or self._offset > position)
            if self._error is not None:
                raise self._error
            return self._offset > position


class ArrivingFile:
    """Gives what is there, and waits for what is not."""

    def __init__(self, arrival: Arrival, file: IO[bytes]) -> None:
        self._arrival = arrival
        self._file = file
        self._position = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def pour(self, pipe: int, /) -> int:
        """As `Pourable.pour`.

        Raises:
            UnavailableError: the file was given up for another one; the blob, once there, can be read.
        """
        if not self._arrival.available(self._position):
            return 0
        count = os.splice(self._file.fileno(), pipe, PIECE_BYTES)
        if not count:
            raise UnavailableError("a blob was begun anew while it was read: read it from the store")
        self._position += count
        self._arrival.taken = self._position
        return count


class ArrivingLayers:
    """The layers of an image, by digest, for whoever unpacks them."""

    def __init__(self, arrivals: Mapping[Digest, Arrival]) -> None:
        self._arrivals = arrivals

    def open(self, layer: Descriptor) -> ArrivingFile:
        """As soon as there is something."""
        return self._arrivals[layer.digest].open()

    def settle(self, layer: Descriptor) -> None:
        """Wait until it is there, verified."""
        self._arrivals[layer.digest].wait()

    def taken(self, layer: Descriptor) -> int:
        """While it arrives, that is what counts."""
        arrival = self._arrivals[layer.digest]
        return arrival.taken if arrival.is_over else 0

    def renewed(self, layer: Descriptor) -> bool:
        """Whether it was begun anew."""
        return self._arrivals[layer.digest].is_renewed
