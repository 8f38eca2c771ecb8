"""The bytes of one blob, from a registry or another node into an ingest, from wherever it stands.

A small blob comes over one connection. A large one is asked for in ranges, one after the other, and when that
takes long, further connections fetch ranges further on, into parts of the ingest (storage/content/parts.py).
A range is asked for to its end and no further: no connection is cut off with bytes under way that somebody
else has already. A registry that does not do ranges is asked for everything at once.
"""

import threading
import time
from collections.abc import Callable

from actors import failpoints
from actors.tracing import bound
from actors.transfers.arrival import Arrival
from actors.transfers.transfer import Transfer
from storage.content import IngestWriter
from storage.content.parts import Parts
from storage.descriptor import Descriptor
from storage.errors import BusyError, StorageError
from transport.errors import RemoteError
from transport.registry.blob import BlobStream
from transport.registry.errors import FailedPreconditionError, RegistryError

Open = Callable[[int, int], BlobStream]
"""Opens a stream of the blob's bytes from the first offset up to, but not including, the second."""

TURN = 0.1  # seconds between looks at whether the transfer is cancelled


class Download:
    """Fills one ingest. The thread that calls `run` is its writer."""

    def __init__(self, transfer: Transfer, blob: Descriptor, writer: IngestWriter, arrival: Arrival) -> None:
        self._transfer = transfer
        self._blob = blob
        self._writer = writer
        self._arrival = arrival
        settings = transfer.settings
        self._after = settings.registry_ranges_after
        window = settings.registry_range_bytes
        in_ranges = settings.registry_ranges_at_once > 1 and blob.size >= 2 * window
        self._parts = Parts(writer.path.parent, blob.size, window, writer.offset) if in_ranges else None
        self._more = settings.registry_ranges_at_once - 1
        self._threads: list[threading.Thread] = []
        self._began = time.monotonic()
        # Where namespaces are isolated, each has to bring what others have.
        self._gives_way = settings.content_sharing == "shared"
        self._over = False
        self._source = ""

    def run(self, connect: Open) -> None:
        """Until all of it is there.

        Raises:
            RegistryError, StorageError, RemoteError: it does not come.
            BusyError: it has come to the store another way meanwhile, as from a source that is faster.
        """
        self._connect = connect
        self._arrival.advance(self._writer.offset)
        try:
            while self._writer.offset < self._blob.size:
                self._step()
        finally:
            self._over = True
            if self._parts is not None:
                self._parts.close()
            for thread in self._threads:
                thread.join()

    def _step(self) -> None:
        """The next bytes: from a part that is there, from one that is being filled, or from the registry."""
        parts, offset = self._parts, self._writer.offset
        if parts is None:
            self._fetch(self._blob.size)
            return
        number = offset // parts.window
        ready, filling = parts.next_for_writer(offset, wait=TURN)
        if ready:
            self._write(ready)
        elif filling:
            self._transfer.check()
            self._give_way()
        else:
            self._fetch(parts.span(number)[1])
        if self._writer.offset >= parts.span(number)[1]:
            parts.remove(number)

    def _fetch(self, end: int) -> None:
        """Append up to `end`; a cut connection is no reason to begin again."""

        def go_on() -> None:
            self._give_way()
            with self._connect(self._writer.offset, end) as stream:
                if not stream.ranged and end < self._blob.size:
                    self._parts = None
                    return  # what was to be a range is everything: take it as that
                self._source = stream.source
                for chunk in stream:
                    self._write(chunk)
                    self._transfer.throttle(len(chunk))
                    self._give_way()
                    self._ask_for_help()

        self._transfer.persist(go_on, lambda: self._writer.offset)

    def _give_way(self) -> None:
        if self._gives_way and self._transfer.store.has(self._blob.digest):
            raise BusyError(f"blob {self._blob.digest} has come another way")

    def _write(self, chunk: bytes) -> None:
        self._writer.write(chunk)
        failpoints.hit("puller", "fetch", "chunk")
        self._arrival.advance(self._writer.offset)
        offset, digest = self._writer.offset, str(self._blob.digest)
        self._transfer.moved(digest, "downloading", offset, self._blob.size, self._source)

    # The other connections

    def _ask_for_help(self) -> None:
        if self._parts is None or self._threads or time.monotonic() - self._began < self._after:
            return
        for number in range(self._more):
            thread = threading.Thread(
                target=bound(self._help), args=(self._parts,), name=f"range-{number}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _help(self, parts: Parts) -> None:
        """Fill windows as long as there are some. What fails is left to the writer, who will say why."""
        while (number := parts.claim()) is not None:
            try:
                self._fill(parts, number)
            except (RegistryError, StorageError, RemoteError):
                return
            finally:
                parts.release(number)

    def _fill(self, parts: Parts, number: int) -> None:
        start, end = parts.span(number)

        def go_on() -> None:
            with self._connect(start + parts.length(number), end) as stream:
                if not stream.ranged:
                    raise FailedPreconditionError("the registry does not do ranges")
                for chunk in stream:
                    parts.append(number, chunk)
                    failpoints.hit("puller", "fetch", "part")
                    self._transfer.throttle(len(chunk))
                    self._transfer.check()
                    if self._over:
                        return

        self._transfer.persist(go_on, lambda: parts.length(number))
