"""Bytes over a stream, in pieces: who receives says how many may be under way (its window).

On our side the bytes come from a pipe or go to one, whose other end is lent to the job that reads or writes
an archive: so the job needs not to know of streams, and a job, a client or a gateway that dies is the end of
a pipe for who is left.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from actors.gateway.streaming import Stream
from transport.errors import RemoteError
from transport.grpc.interface import message

PIECE: Final = 32 << 10  # bytes in one message
WINDOW: Final = 2 * PIECE
_DATA: Final = "containerd.types.transfer.Data"
_UPDATE: Final = "containerd.types.transfer.WindowUpdate"


def received(stream: Stream) -> Iterator[bytes]:
    """The pieces that a client sends. Raises RemoteError: it sends something else."""
    window = 0
    while True:
        while window < WINDOW:
            stream.send(message(_UPDATE)(update=WINDOW))
            window += WINDOW
        with stream.awaited():
            found = stream.receive()
        if found is None:
            return
        window -= len(_of_type(found, _DATA).data)
        yield found.data


def send(stream: Stream, read: Callable[[int], bytes]) -> None:
    """Send what `read` gives, which gets the most bytes that it may give, until it gives none.

    Raises:
        RemoteError: the client has gone, does not read, or sends something that it should not.
    """
    window = _Window(stream)
    while room := window.room():
        data = read(min(PIECE, room))
        if not data:
            return
        stream.send(message(_DATA)(data=data))
        window.take(len(data))
    raise RemoteError("unavailable", "the client has gone, or does not read the archive")


class _Window:
    """The room that a client has for bytes; it says so in a thread of its own."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._room = 0
        self._over = False
        self._changed = threading.Condition()
        threading.Thread(target=self._listen, daemon=True, name="grpc-window").start()

    def _listen(self) -> None:
        try:
            while (found := self._stream.receive()) is not None:
                update = _of_type(found, _UPDATE).update
                with self._changed:
                    self._room += max(0, update)
                    self._changed.notify_all()
        except RemoteError:  # what it does not understand it need not be sent anything for
            self._stream.close()
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def room(self) -> int:
        """Bytes that may be sent, once it is any; 0 when there will be none any more."""
        with self._changed, self._stream.awaited():
            self._changed.wait_for(lambda: self._room > 0 or self._over)
            return self._room

    def take(self, count: int) -> None:
        with self._changed:
            self._room -= count


def _of_type(found: Any, name: str) -> Any:
    if found.DESCRIPTOR.full_name != name:
        raise RemoteError("invalid_argument", f"stream: {found.DESCRIPTOR.full_name} is not a {name}")
    return found


class Piped:
    """A stream at one end of a pipe, moved by a thread of its own; the other end is to be lent to a job.

    Attributes:
        lent: how the job finds its end (actors/linux/borrow.py).
        error: why the stream ended early, if it has.
    """

    def __init__(self, own: int, other: int, move: Callable[[int], None]) -> None:
        """`move` moves everything at our end, whose descriptor it gets, and is not to close it."""
        status = os.fstat(other)
        self.lent = {"pid": os.getpid(), "fd": other, "dev": status.st_dev, "ino": status.st_ino}
        self.error: RemoteError | None = None
        self._own, self._move = own, move
        self._thread = threading.Thread(target=self._run, daemon=True, name="grpc-pipe")
        self._thread.start()

    def _run(self) -> None:
        try:
            self._move(self._own)
        except RemoteError as error:
            self.error = error
        except OSError:  # the job has gone, and says itself why
            pass
        finally:
            os.close(self._own)

    def join(self) -> None:
        """Wait for its end: the other end is closed by now."""
        self._thread.join()


@contextlib.contextmanager
def arriving(stream: Stream) -> Iterator[Piped]:
    """What a client sends, as a pipe to read. Raises RemoteError at its end: the stream was at fault."""
    reader, writer = os.pipe()

    def move(own: int) -> None:
        for data in received(stream):
            left = memoryview(data)
            while left:
                left = left[os.write(own, left) :]

    piped = Piped(writer, reader, move)
    with _closed(piped, reader, stream):
        yield piped
        stream.close()  # whatever comes behind an archive


@contextlib.contextmanager
def leaving(stream: Stream) -> Iterator[Piped]:
    """A pipe to write to, whose bytes a client gets. Raises RemoteError at its end, as above."""
    reader, writer = os.pipe()
    piped = Piped(reader, writer, lambda own: send(stream, lambda most: os.read(own, most)))
    with _closed(piped, writer, stream):
        yield piped


@contextlib.contextmanager
def _closed(piped: Piped, other: int, stream: Stream) -> Iterator[None]:
    """Whatever happens, close the lent end and see our own thread end; its error goes before the job's."""
    try:
        yield
    except BaseException:
        stream.close()
        raise
    finally:
        os.close(other)
        piped.join()
        if piped.error is not None:
            raise piped.error
