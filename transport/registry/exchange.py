"""One question to one endpoint: address, credentials, warnings, and refusals as errors."""

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from transport.registry.auth import Authorizer, Scopes
from transport.registry.connections import Answer, Body, Connections, Request, origin
from transport.registry.endpoint import Endpoint
from transport.registry.errors import RegistryError
from transport.registry.failures import LARGEST_ERROR, printable, refusal

MOST_WARNINGS = 50
SUCCESS = frozenset({200})


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of an endpoint.

    `path` follows the endpoint's base; `url`, where a registry gave one, is taken as it stands. `what` names
    the object in errors. Credentials are sent only if `url` has the endpoint's origin.
    """

    what: str
    method: str
    path: str = ""
    url: str = ""
    scopes: Scopes = ()
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = field(default=None, repr=False)

    def address(self, endpoint: Endpoint) -> str:
        """The full address at `endpoint`; a mirror is told which registry is meant (`ns=`)."""
        if self.url:
            return self.url
        query = dict(self.query)
        if endpoint.is_mirror:
            query["ns"] = endpoint.host
        return endpoint.base + self.path + (f"?{urlencode(query)}" if query else "")


class Exchange:
    """Puts questions to endpoints. May be used by several threads."""

    def __init__(self, connections: Connections, authorizer: Authorizer) -> None:
        self._connections = connections
        self._authorizer = authorizer
        self._warnings: dict[str, None] = {}
        self._lock = threading.Lock()

    @property
    def warnings(self) -> list[str]:
        """What registries warned of (distribution-spec, Warnings), each text once, oldest first."""
        with self._lock:
            return list(self._warnings)

    def ask(self, endpoint: Endpoint, question: Question, *, welcome: Collection[int] = SUCCESS) -> Answer:
        """The answer, if its status is in `welcome`; the caller reads and closes it.

        Raises:
            RegistryError: of the kind that the status or the failed connection means.
        """
        at_home = origin(question.address(endpoint)) == origin(endpoint.base)
        authorization = self._authorizer.header(endpoint, question.scopes) if at_home else None
        answer = self._send(endpoint, question, authorization)
        # Another host's challenge is not answered: it could name a token server of its own.
        if answer.status == 401 and at_home and not answer.stranger and _replayable(question.body):
            answer.close()
            lines = answer.headers.getlist("WWW-Authenticate")
            authorization = self._authorizer.respond(endpoint, question.scopes, lines, authorization)
            answer = self._send(endpoint, question, authorization)
        if answer.status in welcome:
            return answer
        raise self._refused(answer, question, authorization or "")

    def _send(self, endpoint: Endpoint, question: Question, authorization: str | None) -> Answer:
        url = question.address(endpoint)
        private = dict(endpoint.headers)
        if authorization is not None:
            private["Authorization"] = authorization
        tls = endpoint.tls
        if question.url and origin(url) != origin(endpoint.base):
            private, tls = {}, tls.for_strangers()
        headers = question.headers
        answer = self._connections.follow(
            Request(question.method, url, headers, private, tls, endpoint.dial_timeout, question.body)
        )
        self._collect_warnings(answer.headers.getlist("Warning"))
        return answer

    def _refused(self, answer: Answer, question: Question, authorization: str) -> RegistryError:
        # A 416 may state a length that never arrives (docker-registry 2.8.2), so its body is left alone.
        body = b""
        if answer.status != 416 and question.method != "HEAD":
            try:
                body = answer.document(LARGEST_ERROR, "error text")
            except RegistryError:
                body = b""
        answer.close()
        wait = answer.headers.get("Retry-After")
        return refusal(answer.status, wait, body, question.what, authorization)

    def _collect_warnings(self, lines: Iterable[str]) -> None:
        for line in lines:
            code, _, rest = line.partition(" ")
            text = rest.partition(" ")[2].strip().strip('"')
            if code == "299" and text:
                with self._lock:
                    if len(self._warnings) < MOST_WARNINGS:
                        self._warnings.setdefault(printable(text))


def _replayable(body: Body | None) -> bool:
    """Whether a request can be sent a second time: a stream is used up by the first, unless it says else."""
    return body is None or isinstance(body, bytes) or bool(getattr(body, "replayable", False))
