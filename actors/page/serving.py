"""Requests for the page, answered. Everything that goes out says that a browser must not do more with it."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from transport.errors import RemoteError

ASSETS: Final = Path(__file__).resolve().parent
TYPES: Final = {
    "page.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = (
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)
PLAIN: Final = "text/plain; charset=utf-8"

Start = Callable[[str, list[tuple[str, str]]], Any]


class Page:
    """A WSGI application."""

    def __init__(self, hosts: Iterable[str], figures: Callable[[], Any]) -> None:
        """Answers under these names only (`127.0.0.1:9323`); `figures` is asked for what is shown.

        A page of somebody else whose name is made to lead here (DNS rebinding) has another name.
        """
        self._hosts = frozenset(hosts)
        self._figures = figures
        self._assets = {name: (ASSETS / name).read_bytes() for name in TYPES}

    def __call__(self, environ: Mapping[str, Any], start: Start) -> list[bytes]:
        """One request."""
        status, kind, body = self._answer(environ)
        start(status, [("Content-Type", kind), ("Content-Length", str(len(body))), *HEADERS])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(self, environ: Mapping[str, Any]) -> tuple[str, str, bytes]:
        if environ.get("HTTP_HOST", "") not in self._hosts:
            return "403 Forbidden", PLAIN, f"open it as http://{min(self._hosts)}/\n".encode()
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return "405 Method Not Allowed", PLAIN, b"this page is to be read only\n"
        name = environ["PATH_INFO"].removeprefix("/") or "page.html"
        if name in TYPES:
            return "200 OK", TYPES[name], self._assets[name]
        if name == "figures.json":
            return self._told()
        return "404 Not Found", PLAIN, b"see / and /metrics\n"

    def _told(self) -> tuple[str, str, bytes]:
        try:
            found, status = self._figures(), "200 OK"
        except RemoteError as error:
            found, status = {"error": str(error)}, "503 Service Unavailable"
        return status, "application/json", json.dumps(found).encode()
