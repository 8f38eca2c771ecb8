"""A token server for docker-registry (distribution, "Token Authentication"): logins in, signed JWTs out.

RS256 with the certificate in `x5c`; openssl signs. It keeps what it was asked, so that a test can see who was
shown a password.
"""

import base64
import contextlib
import json
import subprocess
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

ISSUER, SERVICE = "token-server-of-the-tests", "registry-of-the-tests"
LIFE = 300  # seconds


@dataclass
class Asked:
    """One request for a token."""

    method: str
    user: str  # empty: anonymous
    scopes: list[str]
    granted: bool
    form: dict[str, str] = field(default_factory=dict)


class TokenServer:
    """Serves on a free port of loopback until the end of its `with` block.

    `logins` maps users to passwords; `identity` maps identity tokens to users. Anonymous clients may pull
    what begins with `public/`, users may do everything.
    """

    def __init__(self, directory: Path, logins: dict[str, str], identity: dict[str, str]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.key, self.certificate = directory / "token.key", directory / "token.pem"
        self.logins, self.identity = logins, identity
        self.asked: list[Asked] = []
        _openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tokens",
            "-keyout", str(self.key), "-out", str(self.certificate),
        )  # fmt: skip
        self._chain = [
            base64.b64encode(_openssl("x509", "-in", str(self.certificate), "-outform", "DER")).decode()
        ]
        self._server = _Server(("127.0.0.1", 0), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def settings(self) -> dict[str, str]:
        """For docker-registry's configuration, `auth: token`."""
        return {
            "realm": f"http://127.0.0.1:{self._server.server_address[1]}/token",
            "service": SERVICE,
            "issuer": ISSUER,
            "rootcertbundle": str(self.certificate),
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def user_of(self, authorization: str) -> str | None:
        """The user of an Authorization header, empty for none; None for a wrong password."""
        if not authorization:
            return ""
        user, _, password = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        return user if self.logins.get(user) == password else None

    def token(self, user: str, scopes: list[str]) -> str:
        """A JWT that grants of `scopes` what the user may do."""
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            allowed = actions.split(",") if user or (name.startswith("public/") and actions == "pull") else []
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        claims = {
            "iss": ISSUER, "sub": user, "aud": SERVICE, "exp": now + LIFE, "nbf": now - 5, "iat": now,
            "jti": f"{time.time_ns()}", "access": access,
        }  # fmt: skip
        text = f"{_encoded({'typ': 'JWT', 'alg': 'RS256', 'x5c': self._chain})}.{_encoded(claims)}"
        signature = _openssl("dgst", "-sha256", "-sign", str(self.key), text=text)
        return f"{text}.{_base64(signature)}"


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, address: tuple[str, int], tokens: TokenServer) -> None:
        self.tokens = tokens
        super().__init__(address, _Conversation)


class _Conversation(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10

    def do_GET(self) -> None:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        user = self.server.tokens.user_of(self.headers.get("Authorization", ""))
        self._grant("GET", user, query.get("scope", []), {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        form = dict(urllib.parse.parse_qsl(body))
        user = self.server.tokens.identity.get(form.get("refresh_token", ""))
        self._grant("POST", user, form.get("scope", "").split(), form)

    def _grant(self, method: str, user: str | None, scopes: list[str], form: dict[str, str]) -> None:
        tokens = self.server.tokens
        tokens.asked.append(Asked(method, user or "", scopes, user is not None, form))
        if user is None:
            self._send(401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong login"}]})
            return
        key = "access_token" if method == "POST" else "token"
        self._send(200, {key: tokens.token(user, scopes), "expires_in": LIFE})

    def _send(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


def _encoded(document: dict[str, Any]) -> str:
    return _base64(json.dumps(document).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _openssl(*words: str, text: str = "") -> bytes:
    done = subprocess.run(
        ["openssl", *words], input=text.encode(), check=True, capture_output=True, timeout=60
    )
    return done.stdout
