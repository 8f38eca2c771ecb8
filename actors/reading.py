"""Blobs read by other hosts: each reader gets pieces as far as its credit goes, one a turn of the mailbox.

A reader that stalls holds a descriptor and nothing else; one that goes away is cancelled by the router. No
reader makes others wait for longer than one piece takes to read.
"""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Final

from actors import failpoints
from actors import messages as m
from actors.actor import Actor
from actors.call import Call
from storage.content import ContentStore
from storage.content.disk import reported
from storage.digest import Digest
from storage.errors import StorageError
from transport.errors import RemoteError

PIECE: Final = 1 << 19  # bytes
FIRST_CREDIT: Final = 1 << 20  # bytes, for a client that names none
MOST_CREDIT: Final = 16 << 20  # bytes: what may lie in queues for one reader
MOST: Final = 32  # readers at once


@dataclass(slots=True)
class _Reader:
    call: Call
    file: BinaryIO
    position: int
    end: int
    size: int
    is_due: bool = False


class Readings:
    """All that are under way. For the actor's thread."""

    def __init__(self, actor: Actor, store: ContentStore) -> None:
        self._actor = actor
        self._store = store
        self._readers: list[_Reader] = []

    def begin(self, body: m.ContentRead, call: Call) -> None:
        """Open the blob and send the first piece. Raises StorageError, RemoteError."""
        call.credit = call.credit or FIRST_CREDIT
        _check_credit(call)
        if len(self._readers) >= MOST:
            raise RemoteError("overloaded", f"{MOST} blobs are being read already: try again")
        with ExitStack() as kept:
            file = kept.enter_context(self._store.open(Digest.parse(body.digest)))
            size = os.fstat(file.fileno()).st_size
            end = body.end or size
            if not body.offset <= end <= size:
                text = f"bytes {body.offset} to {end} of blob {body.digest}, which has {size}, make no range"
                raise RemoteError("invalid_argument", text)
            kept.pop_all()
        reader = _Reader(call, file, body.offset, end, size)
        self._readers.append(reader)
        self._go_on(reader)

    def credited(self, call: Call) -> None:
        """There is room for more."""
        for reader in self._readers:
            if reader.call is call:
                self._go_on(reader)

    def cancelled(self, call: Call) -> None:
        """Nobody reads it any more."""
        for reader in [one for one in self._readers if one.call is call]:
            self._end(reader)

    def _go_on(self, reader: _Reader) -> None:
        if not reader.is_due:
            reader.is_due = True
            self._actor.soon(partial(self._step, reader))

    def _step(self, reader: _Reader) -> None:
        reader.is_due = False
        if not reader.call.open:
            return
        try:
            _check_credit(reader.call)
            self._send(reader)
        except (StorageError, RemoteError) as error:
            self._end(reader, error)

    def _send(self, reader: _Reader) -> None:
        if reader.position < reader.end and reader.call.credit > 0:
            with reported("read a blob"):
                length = min(PIECE, reader.end - reader.position)
                piece = os.pread(reader.file.fileno(), length, reader.position)
            if not piece:
                raise StorageError(f"a blob ends at byte {reader.position} instead of {reader.end}")
            failpoints.hit("content", "read", "piece")
            reader.call.part({"offset": reader.position}, piece)
            reader.position += len(piece)
            self._go_on(reader)
        elif reader.position >= reader.end:
            self._end(reader, {"size": reader.size})

    def _end(self, reader: _Reader, result: Any = None) -> None:
        self._readers.remove(reader)
        reader.file.close()
        if result is not None:
            reader.call.settle(result)


def _check_credit(call: Call) -> None:
    if call.credit > MOST_CREDIT:
        raise RemoteError("invalid_argument", f"more than {MOST_CREDIT} bytes of credit: give less at once")
