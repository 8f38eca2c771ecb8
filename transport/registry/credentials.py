"""Where the logins for registries come from: docker's config.json and its credential helpers.

The file is read anew at each question, so a login or logout takes effect at once; questions are rare, since
tokens are kept. Nothing here shows a secret: not in repr, not in errors, not in a process list.
"""

import base64
import binascii
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from transport.registry.endpoint import DOCKER_HUB, canonical_host
from transport.registry.errors import FailedPreconditionError
from transport.registry.keychain import SECONDS, Keychain

LARGEST_CONFIG = 1 << 20
DOCKER_HUB_KEY = "https://index.docker.io/v1/"  # docker's historical name for its own registry
IDENTITY_TOKEN_USER = "<token>"  # noqa: S105 - the user name by which helpers mark a token


@dataclass(frozen=True, slots=True)
class Login:
    """A user's name and password, or an identity token, which the token server changes for access."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header with these (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    def to_dict(self) -> dict[str, str]:
        """The fields that are not empty, to be sent to whoever is to use it."""
        fields = {
            "username": self.username,
            "password": self.password,
            "identity_token": self.identity_token,
        }
        return {name: value for name, value in fields.items() if value}


class Credentials(Protocol):
    """Anything that knows logins."""

    def lookup(self, authority: str) -> Login | None:
        """The login for the server at `authority` (host or host:port); None to go without.

        Raises:
            FailedPreconditionError: they are kept somewhere that cannot be read.
        """


@dataclass(frozen=True, slots=True)
class NoCredentials:
    """Everything anonymously."""

    def lookup(self, authority: str) -> Login | None:  # noqa: ARG002 - the protocol's signature
        """None for every server."""
        return None


@dataclass(frozen=True, slots=True)
class GivenLogin:
    """A login that came with the request, for one host only; others are asked of `others`."""

    host: str
    login: Login
    others: Credentials = NoCredentials()

    def lookup(self, authority: str) -> Login | None:
        """The given login for its host and for no other."""
        if canonical_host(authority) == canonical_host(self.host):
            return self.login
        return self.others.lookup(authority)


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """The logins in a docker config.json and in the helpers that it names."""

    path: Path
    helper_seconds: float = SECONDS

    def lookup(self, authority: str) -> Login | None:
        """A helper for this host decides alone; then the common helper, then what the file itself holds."""
        config = self._read()
        host = canonical_host(authority)
        helper = config_entry(config.get("credHelpers"), host)
        if helper is not None:
            return self._ask(helper, host)
        common = config.get("credsStore")
        login = self._ask(common, host) if common else None
        return login or self._decode(config_entry(config.get("auths"), host))

    def _read(self) -> dict[str, Any]:
        return read_config(self.path)

    def _decode(self, entry: object) -> Login | None:
        if not isinstance(entry, dict):
            return None
        fields = {name: value for name, value in entry.items() if isinstance(value, str)}
        identity = fields.get("identitytoken", "")
        username, password = fields.get("username", ""), fields.get("password", "")
        if fields.get("auth"):
            username, password = self._decode_auth(fields["auth"])
        return _login(username, password, identity)

    def _decode_auth(self, auth: str) -> tuple[str, str]:
        try:
            username, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            colon = ""
        if not colon:
            raise FailedPreconditionError(f"{self.path} has a malformed auth entry; log in again")
        return username, password.rstrip("\0")

    def _ask(self, helper: object, host: str) -> Login | None:
        """Ask docker-credential-HELPER, which reads the host on its input and answers in JSON."""
        keychain = Keychain.named(helper, self.path, self.helper_seconds)
        found = keychain.get(keychain_key(host))
        return _login(*found, "") if found else None


def read_config(path: Path) -> dict[str, Any]:
    """A docker config.json; empty when there is none. Raises FailedPreconditionError."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_CONFIG + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise FailedPreconditionError(f"{path} cannot be read: {error.strerror}") from None
    try:
        config = json.loads(text) if len(text) <= LARGEST_CONFIG else None
    except (ValueError, RecursionError):
        config = None  # the parser's message could quote a secret
    if not isinstance(config, dict):
        raise FailedPreconditionError(f"{path} is not a docker config.json; correct or remove it")
    return config


def keychain_key(host: str) -> str:
    """The name under which helpers and config.json keep the login for a canonical host."""
    return DOCKER_HUB_KEY if host == DOCKER_HUB else host


def _login(username: str, password: str, identity: str) -> Login | None:
    if username == IDENTITY_TOKEN_USER:
        return Login(identity_token=password)
    if identity:
        return Login(username, identity_token=identity)
    return Login(username, password) if username or password else None


def config_entry(table: object, host: str) -> Any | None:
    """The entry for `host`; keys may carry a scheme and the path of an API version."""
    if not isinstance(table, dict):
        return None
    if host in table:
        return table[host]
    for key, value in table.items():
        bare = key.partition("://")[2] or key
        name, _, path = bare.partition("/")
        if canonical_host(name) == host and path.strip("/") in {"", "v1", "v2"}:
            return value
    return None
