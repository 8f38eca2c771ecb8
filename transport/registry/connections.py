"""HTTP requests as registries need them: pooled connections, redirects by hand, bounded reading.

requests' adapters are used without its Session: a Session would answer from ~/.netrc, keep cookies and read
the whole body of a redirect. What a request may show only to the server it was meant for (credentials,
configured headers, client certificates) is left behind at the first redirect to another origin.
"""

import contextlib
import re
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy

from transport.registry.endpoint import DIAL_TIMEOUT, Tls, is_loopback
from transport.registry.errors import (
    BadContentError,
    FailedPreconditionError,
    InvalidArgumentError,
    RegistryError,
)
from transport.registry.failures import failure

MOST_REDIRECTS = 10
REDIRECTS = frozenset({301, 302, 303, 307, 308})
READ_TIMEOUT = 30.0  # seconds without a byte
DOCUMENT_SECONDS = 60.0  # for the whole of a manifest, list or error text
DOCUMENT_PIECE = 64 << 10
WORTH_READING = 4096  # bytes of a body nobody asked for, against a new connection
POOL = 16  # connections kept open to one host

Body = bytes | IO[bytes] | Iterable[bytes]


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `private` headers and client certificates stay with the origin of `url`."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    private: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: Tls = field(default_factory=Tls)
    dial_timeout: float = DIAL_TIMEOUT
    body: Body | None = field(default=None, repr=False)


class Answer:
    """What a server answered; the body is read piece by piece and never decoded."""

    def __init__(self, raw: urllib3.HTTPResponse, url: str, *, stranger: bool) -> None:
        self.status = raw.status
        self.headers = raw.headers
        self.url = url
        self.authority = urlsplit(url).netloc
        self.stranger = stranger  # it came from another origin than the one that was asked
        self._raw = raw

    @property
    def length(self) -> int | None:
        """The body's length as the server states it; None when it does not, or not as a number."""
        text = self.headers.get("Content-Length", "")
        return int(text) if re.fullmatch("[0-9]{1,18}", text) else None

    def piece(self, most: int) -> bytes:
        """The bytes that have arrived, at most `most`; empty at the end.

        Raises:
            UnavailableError: the connection broke, or brought nothing for the read timeout.
        """
        try:
            return self._raw.read1(most, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise failure(error, self.authority) from None

    def document(self, most: int, what: str) -> bytes:
        """The whole body, of at most `most` bytes; the connection is free again afterwards.

        Raises:
            BadContentError: it is larger, compressed, or takes too long.
            UnavailableError: the connection broke.
        """
        try:
            encoding = self.headers.get("Content-Encoding", "identity")
            if encoding not in {"identity", ""}:
                raise BadContentError(f"{what} came with a content encoding that was not asked for")
            return self._gather(most, what)
        finally:
            self.close()

    def _gather(self, most: int, what: str) -> bytes:
        too_large = BadContentError(f"{what} is larger than the {most} bytes allowed")
        if (self.length or 0) > most:
            raise too_large
        gathered = bytearray()
        deadline = time.monotonic() + DOCUMENT_SECONDS
        while piece := self.piece(DOCUMENT_PIECE):
            gathered += piece
            if len(gathered) > most:
                raise too_large
            if time.monotonic() > deadline:
                raise BadContentError(f"{what} did not arrive within {DOCUMENT_SECONDS:g} s")
        return bytes(gathered)

    def close(self) -> None:
        """Give the connection back if the body was read or is next to nothing, and end it otherwise.

        The little that comes with a refusal is not waited for: docker-registry 2.8.2 states a length with a
        416 that never arrives.
        """
        left = self._raw.length_remaining
        if left == 0 or (self.status < 400 and left is not None and left <= WORTH_READING):
            with contextlib.suppress(RegistryError):
                while self.piece(WORTH_READING):
                    pass
        self._raw.close()


class Connections:
    """Pools of connections, one set for each way of trusting servers. May be used by several threads."""

    def __init__(self, user_agent: str, *, read_timeout: float = READ_TIMEOUT) -> None:
        self.user_agent = user_agent
        self._read_timeout = read_timeout
        self._adapters: dict[Tls, _Adapter] = {}
        self._lock = threading.Lock()

    def follow(self, request: Request) -> Answer:
        """Send a request and, for GET and HEAD, follow where it is redirected.

        Raises:
            NotReachableError, UnavailableError: no answer.
            FailedPreconditionError: the server's certificate is not trusted.
            BadContentError: it redirects too often, to an unusable address or from https to http.
        """
        url, stranger = request.url, False
        for _ in range(MOST_REDIRECTS + 1):
            answer = self._send(request, url, stranger=stranger)
            if answer.status not in REDIRECTS or request.method not in {"GET", "HEAD"}:
                return answer
            answer.close()
            target = redirect_target(url, answer.headers.get("Location", ""))
            stranger = stranger or origin(target) != origin(request.url)
            url = target
        raise BadContentError(f"{urlsplit(request.url).netloc} redirects more than {MOST_REDIRECTS} times")

    def close(self) -> None:
        """End all connections that are idle."""
        with self._lock:
            for adapter in self._adapters.values():
                adapter.close()
            self._adapters.clear()

    def _send(self, request: Request, url: str, *, stranger: bool) -> Answer:
        tls = request.tls.for_strangers() if stranger else request.tls
        headers = {"User-Agent": self.user_agent, "Accept-Encoding": "identity", **request.headers}
        if not stranger:
            headers.update(request.private)
        prepared = requests.Request(request.method, url, headers, data=request.body).prepare()
        if url.isascii() and url.isprintable() and " " not in url:
            prepared.url = url  # as given: a signature may cover the spelling
        timeout = (request.dial_timeout, self._read_timeout)
        try:
            response = self._adapter(tls).send(prepared, stream=True, timeout=timeout, proxies=_proxies(url))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise failure(error, urlsplit(url).netloc) from None
        return Answer(response.raw, url, stranger=stranger)

    def _adapter(self, tls: Tls) -> "_Adapter":
        with self._lock:
            if tls not in self._adapters:
                self._adapters[tls] = _Adapter(_context(tls))
            return self._adapters[tls]


class _Adapter(HTTPAdapter):
    """An adapter whose connections, also those through a proxy, use exactly the given TLS context."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(pool_maxsize=POOL)

    def init_poolmanager(self, *args: Any, **keywords: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **keywords)

    def proxy_manager_for(self, proxy: Any, **keywords: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._context, **keywords)

    def build_connection_pool_key_attributes(self, *args: Any, **keywords: Any) -> Any:
        host, _ = super().build_connection_pool_key_attributes(*args, **keywords)
        return host, {}

    def cert_verify(self, *args: Any, **keywords: Any) -> None:
        """Nothing: the context says it all."""


def _context(tls: Tls) -> ssl.SSLContext:
    """The system's certificates and those of `tls`."""
    context = ssl.create_default_context()
    if tls.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        # An operator wrote skip_verify on purpose; a warning for each request tells nobody anything.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    path = ""
    try:
        for path in tls.ca:
            context.load_verify_locations(path)
        for path, key in tls.client:
            context.load_cert_chain(path, key, password="")  # empty: a locked key fails, nobody is asked
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no certificate"
        raise FailedPreconditionError(f"certificate {path} cannot be used: {reason}") from None
    return context


def _proxies(url: str) -> dict[str, str]:
    """The proxies of the environment (HTTPS_PROXY and its kin, NO_PROXY), never for loopback."""
    if is_loopback(urlsplit(url).hostname or ""):
        return {}
    proxies = get_environ_proxies(url)
    proxy = select_proxy(url, proxies)
    return {urlsplit(url).scheme: proxy} if proxy else {}


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what credentials are confined to (RFC 6454)."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, (parts.hostname or "").lower(), port


def redirect_target(url: str, location: str) -> str:
    """The address that a Location header of `url` means.

    Raises:
        BadContentError: it is missing or unusable, carries a user name, or leads from https to http.
    """
    try:
        target = urljoin(url, location)
        check_url(target)
    except (InvalidArgumentError, ValueError):
        target = ""
    if not location or not target:
        raise BadContentError(f"{urlsplit(url).netloc} redirects without a usable address")
    if url.startswith("https:") and not target.startswith("https:"):
        raise BadContentError(f"{urlsplit(url).netloc} redirects from https to http, which is refused")
    return target


def check_url(url: str) -> None:
    """Raise InvalidArgumentError unless `url` is a plain http or https address without a user name."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.username is None
        origin(url)
        requests.Request("GET", url).prepare()  # has ideas of its own of what a host may be called
    except ValueError:
        fine = False
    if not fine or len(url) > 16 << 10:
        raise InvalidArgumentError("the address is not of the form https://host/path")
