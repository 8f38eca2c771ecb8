"""A registry on loopback that answers as a test scripts it: for what a well-behaved one never does.

Each route holds a list of answers, given one after the other; the last one stays. What was asked is recorded.
"""

import contextlib
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
PIECE = 64 << 10
MOST_ENDLESS = 64 << 20  # bytes that an endless body has at most, should nobody hang up


def digest_of(body):
    return "sha256:" + hashlib.sha256(body).hexdigest()


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str  # with its query
    headers: dict[str, str]  # names in lower case
    body: bytes


@dataclass
class Answer:
    """What to send back, and how badly."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    repeated: list[tuple[str, str]] = field(default_factory=list)  # headers that occur more than once
    length: int | None = -1  # the Content-Length to claim; -1 the true one, None none
    chunked: bool = False
    cut_after: int | None = None  # hang up after so many bytes of the body
    endless: bool = False  # repeat the body until the client hangs up
    stall: bool = False  # send nothing more, but keep the connection open until the registry ends
    drip: int | None = None  # send so many bytes at a time, each once `beat` allows


Scripted = Answer | Callable[[Asked], Answer]


class ScriptedRegistry:
    """Serves on a free port of `address` until the end of its `with` block."""

    def __init__(self, address="127.0.0.1", tls=None):
        self.asked: list[Asked] = []
        self.routes: dict[tuple[str, str], list[Scripted]] = {}
        self.beat: Callable[[], None] = lambda: None
        self.ended = threading.Event()
        self._server = _Server((address, 0), self)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.host = f"{address}:{self._server.server_address[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()

    def on(self, method: str, path: str, *answers: Scripted) -> None:
        """Answer `method` for `path` (its query left out) in this order."""
        self.routes[method, path] = list(answers)

    def add_blob(self, repository: str, body: bytes, *, ranges: bool = True) -> str:
        """Serve a blob properly; its digest."""
        digest = digest_of(body)
        self.on("GET", f"/v2/{repository}/blobs/{digest}", lambda asked: _blob(asked, body, ranges))
        return digest

    def add_manifest(self, repository: str, body: bytes, *references: str, media_type=OCI_MANIFEST) -> str:
        """Serve a manifest properly, by digest and by `references`; its digest."""
        digest = digest_of(body)
        headers = {"Content-Type": media_type, "Docker-Content-Digest": digest}
        for reference in (digest, *references):
            for method in ("GET", "HEAD"):
                self.on(method, f"/v2/{repository}/manifests/{reference}", Answer(200, body, headers))
        return digest

    def requests(self, method: str, path: str = "") -> list[Asked]:
        """What was asked with `method`, at `path` if one is given."""
        return [
            asked
            for asked in self.asked
            if asked.method == method and path in {"", asked.path.partition("?")[0]}
        ]

    def answer(self, asked: Asked) -> Answer:
        """The next answer of the route."""
        self.asked.append(asked)
        answers = self.routes.get((asked.method, asked.path.partition("?")[0]))
        if not answers:
            body = json.dumps({"errors": [{"code": "NAME_UNKNOWN", "message": "not scripted"}]})
            return Answer(404, body.encode())
        scripted = answers.pop(0) if len(answers) > 1 else answers[0]
        return scripted(asked) if callable(scripted) else scripted


def _blob(asked, body, ranges):
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("range", ""))
    if not ranges or wanted is None:
        return Answer(200, body)
    first, last = int(wanted[1]), int(wanted[2] or len(body) - 1)
    if first >= len(body):
        return Answer(416)
    last = min(last, len(body) - 1)
    return Answer(206, body[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(body)}"})


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, address, registry):
        self.registry = registry
        self.connections: set[socket.socket] = set()
        super().__init__(address, _Conversation)

    def hang_up(self):
        """End the connections that clients keep open, so that their threads end."""
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request, client_address):
        """Clients hang up in the middle of everything: that is what the tests are about."""


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self):
        super().setup()
        self.server.connections.add(self.connection)
        if self.server.registry.ended.is_set():  # accepted at the last moment, after the others were hung up
            self.connection.shutdown(socket.SHUT_RDWR)

    def finish(self):
        self.server.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format, *args):  # noqa: A002 - the base class's name
        """Say nothing."""

    def _serve(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self._read_body(headers)
        answer = self.server.registry.answer(Asked(self.command, self.path, headers, body))
        self._send_headers(answer)
        if self.command != "HEAD":
            self._send_body(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _read_body(self, headers):
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        length = int(headers.get("content-length", 0))
        body = self.rfile.read(length)
        if len(body) != length:
            raise ConnectionError("the client hung up in the middle of its body")
        return body

    def _send_headers(self, answer):
        self.send_response(answer.status)
        for name, value in (*answer.headers.items(), *answer.repeated):
            self.send_header(name, value)
        if answer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif answer.length is None or answer.endless:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            length = len(answer.body) if answer.length == -1 else answer.length
            self.send_header("Content-Length", str(length))
            self.close_connection = length != len(answer.body)
        self.end_headers()

    def _send_body(self, answer):
        for piece in _pieces(answer):
            if answer.drip:
                self.server.registry.beat()
            framed = b"%x\r\n%s\r\n" % (len(piece), piece) if answer.chunked else piece
            self.wfile.write(framed)
        if answer.stall:
            self.server.registry.ended.wait(60)
        if answer.cut_after is not None or answer.stall:
            self.close_connection = True
        elif answer.chunked:
            self.wfile.write(b"0\r\n\r\n")


def _pieces(answer) -> Iterator[bytes]:
    body = answer.body if answer.cut_after is None else answer.body[: answer.cut_after]
    step = answer.drip or PIECE
    sent = 0
    while True:
        for start in range(0, len(body), step):
            yield body[start : start + step]
        sent += len(body)
        if not answer.endless or not body or sent > MOST_ENDLESS:
            return
