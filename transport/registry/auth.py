"""Answering a registry that asks who is there: Basic, and tokens from a token server.

Docker's token protocol: a 401 names a realm; the realm changes a login (or none) for a short-lived token,
bound to scopes such as `repository:a/b:pull`. Challenges and tokens are remembered per server, so that only
the first request to it is sent twice.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from transport.registry.challenge import Challenge, parse_challenges
from transport.registry.connections import Answer, Connections, Request, check_url
from transport.registry.credentials import Credentials, Login
from transport.registry.endpoint import Endpoint
from transport.registry.errors import BadContentError, InvalidArgumentError, PermissionDeniedError
from transport.registry.failures import LARGEST_ERROR, refusal

CLIENT_ID = "actord"
LARGEST_TOKEN = 64 << 10
SHORTEST_LIFE = 60.0  # seconds, when the token server does not say
LONGEST_LIFE = 24 * 3600.0
MOST_TOKENS = 512

Scopes = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    expires: float


class Authorizer:
    """Knows which Authorization header to send to which endpoint. May be used by several threads."""

    def __init__(
        self,
        connections: Connections,
        credentials: Credentials,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connections = connections
        self._credentials = credentials
        self._clock = clock
        self._challenges: dict[str, Challenge] = {}
        self._tokens: dict[tuple[str, Scopes], _Token] = {}
        self._lock = threading.Lock()

    def header(self, endpoint: Endpoint, scopes: Scopes) -> str | None:
        """The header for a request that needs `scopes`; None while the endpoint has not asked for any."""
        with self._lock:
            challenge = self._challenges.get(endpoint.base)
            return self._answer(endpoint, scopes, challenge) if challenge else None

    def respond(self, endpoint: Endpoint, scopes: Scopes, lines: Sequence[str], used: str | None) -> str:
        """The header that meets the challenge of a 401 answer to a request sent with `used`.

        Raises:
            PermissionDeniedError: there is no login, or it has just been refused.
            FailedPreconditionError: the stored login cannot be read.
            UnavailableError: the token server is out of reach.
        """
        challenge = _choose(parse_challenges(lines))
        if challenge is None:
            raise PermissionDeniedError(
                f"registry {endpoint.authority} denies access and asks for no login that is understood"
            )
        with self._lock:
            self._challenges[endpoint.base] = _lasting(challenge)
            kept = self._tokens.get((endpoint.base, scopes))
            if kept is not None and used == f"Bearer {kept.value}":
                del self._tokens[endpoint.base, scopes]
            header = self._answer(endpoint, scopes, challenge)
        if header == used:
            raise PermissionDeniedError(
                f"registry {endpoint.authority} refuses the login it was given; log in again"
            )
        return header

    def _answer(self, endpoint: Endpoint, scopes: Scopes, challenge: Challenge) -> str:
        if challenge.scheme == "basic":
            return self._basic(endpoint)
        kept = self._tokens.get((endpoint.base, scopes))
        if kept is None or kept.expires <= self._clock():
            kept = self._fetch(endpoint, scopes, challenge)
            if len(self._tokens) >= MOST_TOKENS:
                self._tokens.clear()
            self._tokens[endpoint.base, scopes] = kept
        return f"Bearer {kept.value}"

    def _basic(self, endpoint: Endpoint) -> str:
        login = self._credentials.lookup(endpoint.authority)
        if login is None or login.identity_token:
            raise PermissionDeniedError(
                f"registry {endpoint.authority} asks for a user name and password; log in first"
            )
        return login.basic

    def _fetch(self, endpoint: Endpoint, scopes: Scopes, challenge: Challenge) -> _Token:
        login = self._credentials.lookup(endpoint.authority)
        request = token_request(endpoint, challenge, scopes, login)
        asked_at = self._clock()
        answer = self._connections.follow(request)
        what = f"token for registry {endpoint.authority}"
        body = _body(answer, what, request)
        value, life = parse_token(body, what)
        return _Token(value, asked_at + life * 0.9)  # renewed before it ends under way


def _choose(challenges: list[Challenge]) -> Challenge | None:
    for scheme in ("bearer", "basic"):
        for challenge in challenges:
            if challenge.scheme == scheme and (scheme == "basic" or challenge.parameters.get("realm")):
                return challenge
    return None


def _lasting(challenge: Challenge) -> Challenge:
    """What holds for later requests too: the scope named was the wish of one request."""
    kept = {name: value for name, value in challenge.parameters.items() if name in {"realm", "service"}}
    return Challenge(challenge.scheme, kept)


def token_request(endpoint: Endpoint, challenge: Challenge, scopes: Scopes, login: Login | None) -> Request:
    """The request to the token server: POST with an identity token (OAuth 2), otherwise GET.

    Raises:
        BadContentError: the realm is no address, or a plain http one named by an https registry.
    """
    realm = challenge.parameters["realm"]
    try:
        check_url(realm)
    except InvalidArgumentError:
        raise BadContentError(f"registry {endpoint.authority} names a malformed token server") from None
    if endpoint.scheme == "https" and urlsplit(realm).scheme != "https":
        raise BadContentError(f"registry {endpoint.authority} names a token server without TLS; refused")
    wanted = dict.fromkeys((*scopes, *challenge.parameters.get("scope", "").split()))
    service = challenge.parameters.get("service", "")
    if login is not None and login.identity_token:
        return _oauth_request(endpoint, realm, service, " ".join(wanted), login)
    query = [("service", service)] if service else []
    query += [("scope", scope) for scope in wanted]
    url = realm + ("&" if "?" in realm else "?") + urlencode(query, quote_via=quote, safe=":/,")
    private = {"Authorization": login.basic} if login else {}
    return Request("GET", url, {}, private, endpoint.tls.for_strangers(), endpoint.dial_timeout)


def _oauth_request(endpoint: Endpoint, realm: str, service: str, scope: str, login: Login) -> Request:
    form = {
        "grant_type": "refresh_token",
        "service": service,
        "client_id": CLIENT_ID,
        "scope": scope,
        "refresh_token": login.identity_token,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    tls = endpoint.tls.for_strangers()
    return Request("POST", realm, headers, {}, tls, endpoint.dial_timeout, urlencode(form).encode())


def _body(answer: Answer, what: str, request: Request) -> bytes:
    body = answer.document(LARGEST_ERROR, what)
    if answer.status == 200:
        return body
    secret = request.private.get("Authorization", "")
    if request.body is not None:
        body = b""  # what answers an identity token may quote it in many spellings
    raise refusal(answer.status, answer.headers.get("Retry-After"), body, what, secret)


def parse_token(body: bytes, what: str) -> tuple[str, float]:
    """Token and its life in seconds, from a token server's answer; fewer scopes than asked are no error.

    Raises:
        BadContentError: there is no usable token in it.
    """
    try:
        document: Any = json.loads(body)
        value = document.get("token") or document.get("access_token")
        life = document.get("expires_in")
    except (ValueError, AttributeError, RecursionError):
        value = life = None
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]+", value) or len(value) > LARGEST_TOKEN:
        raise BadContentError(f"{what}: the token server's answer holds no token")
    usable = isinstance(life, int | float) and not isinstance(life, bool) and life > 0
    return value, float(min(life, LONGEST_LIFE)) if usable else SHORTEST_LIFE
