"""A proxy before a registry that counts what it sends, and hangs up where it is told to.

For each request for a blob it notes which bytes it was asked for, what the client had of the blob at that
very moment, read from the sizes of the client's own files, and how many bytes it sent.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

PIECE = 64 << 10
_BLOB = re.compile(r"/v2/.+/blobs/(sha256:[0-9a-f]{64})")


@dataclass
class Fetch:
    """One request for a blob."""

    digest: str
    start: int
    end: int  # of what was asked for; -1: to the end of the blob
    had: list[tuple[int, int]]  # spans of the blob that the client had then
    sent: int = 0

    @property
    def again(self) -> int:
        """Bytes that were asked for although the client had them."""
        end = self.end if self.end >= 0 else 1 << 62
        return sum(max(0, min(end, stop) - max(self.start, begin)) for begin, stop in self.had)


@dataclass
class Witness:
    """Serves on a free port of loopback until the end of its `with` block.

    `durable` says which spans of a blob the client has. `strike`, once set, is called when `fuse` more bytes
    of blobs have been sent; what it returns says whether to hang up.
    """

    upstream: str
    durable: Callable[[str], list[tuple[int, int]]]
    fetches: list[Fetch] = field(default_factory=list)
    fuse: int = -1
    strike: Callable[[], bool] = lambda: True

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.host = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def arm(self, fuse: int, strike: Callable[[], bool]) -> None:
        """Let something happen after `fuse` more bytes."""
        with self._lock:
            self.fuse, self.strike = fuse, strike

    def note(self, digest: str, wanted: re.Match[str] | None) -> Fetch:
        """A request has come in."""
        start, end = (int(wanted[1]), int(wanted[2]) + 1 if wanted[2] else -1) if wanted else (0, -1)
        fetch = Fetch(digest, start, end, self.durable(digest))
        self.fetches.append(fetch)
        return fetch

    def burn(self, count: int) -> tuple[int, bool]:
        """How many of `count` bytes to send, and whether to hang up after them."""
        with self._lock:
            if self.fuse < 0:
                return count, False
            if count < self.fuse:
                self.fuse -= count
                return count, False
            left, self.fuse = self.fuse, -1
        return left, self.strike()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], witness: Witness) -> None:
        self.witness = witness
        super().__init__(address, _Conversation)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients are killed in the middle: that is what the tests are about."""


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 30

    def do_GET(self) -> None:
        witness = self.server.witness
        blob = _BLOB.match(self.path)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        fetch = witness.note(blob[1], wanted) if blob and self.command == "GET" else None
        upstream = http.client.HTTPConnection(witness.upstream, timeout=30)
        with contextlib.closing(upstream):
            headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
            upstream.request(self.command, self.path, headers=headers)
            answer = upstream.getresponse()
            self.send_response(answer.status)
            for key, value in answer.getheaders():
                if key.lower() != "connection":
                    self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self._copy(answer, fetch)

    do_HEAD = do_GET  # noqa: N815

    def _copy(self, answer: http.client.HTTPResponse, fetch: Fetch | None) -> None:
        while piece := answer.read(PIECE):
            count, hang_up = self.server.witness.burn(len(piece)) if fetch else (len(piece), False)
            self.wfile.write(piece[:count])
            if fetch:
                fetch.sent += count
            if hang_up:
                self.close_connection = True
                return
            self.wfile.write(piece[count:])
            if fetch:
                fetch.sent += len(piece) - count

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


def spans_of_ingest(content: Path, digest: str, window: int) -> list[tuple[int, int]]:
    """What the content store at `content` has of a blob: all, or the data and the parts of its ingest."""
    blob = content / "blobs" / "sha256" / digest.removeprefix("sha256:")
    if blob.exists():
        return [(0, blob.stat().st_size)]
    ingest = content / "ingest" / hashlib.sha256(f"blob-{digest}".encode()).hexdigest()
    spans = []
    with contextlib.suppress(FileNotFoundError):
        for path in ingest.iterdir():
            if path.name == "data":
                spans.append((0, path.stat().st_size))
            elif path.name.startswith("part-"):
                start = int(path.name.removeprefix("part-")) * window
                spans.append((start, start + path.stat().st_size))
    return spans
