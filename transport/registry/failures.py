"""Failed connections and unwelcome answers, in our own words.

The libraries' texts are not passed on: they quote addresses, whose queries may be signed, and say little to
people. A registry's own words are passed on only as far as they are short, printable and quote no secret.
"""

import base64
import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator

import urllib3.exceptions

from transport.registry.errors import (
    BadContentError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    NotReachableError,
    PermissionDeniedError,
    RegistryError,
    UnavailableError,
)
from transport.registry.retry import retry_after_seconds

LARGEST_ERROR = 64 << 10
LONGEST_REASON = 200  # characters
MOST_CAUSES = 24

BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_STATUS: dict[int, type[RegistryError]] = {
    401: PermissionDeniedError,
    403: PermissionDeniedError,
    404: NotFoundError,
    410: NotFoundError,
    405: FailedPreconditionError,
    409: FailedPreconditionError,
    412: FailedPreconditionError,
    413: FailedPreconditionError,
    501: FailedPreconditionError,
}


def failure(error: BaseException, authority: str) -> RegistryError:
    """The error for an exception from a connection to `authority`."""
    for cause in _causes(error):
        match cause:
            case ConnectionRefusedError():
                return NotReachableError(
                    f"registry {authority} is not reachable: connection refused; is it running?"
                )
            case socket.gaierror() | urllib3.exceptions.NameResolutionError():
                return NotReachableError(
                    f"registry {authority} is not reachable: its name does not resolve; "
                    "check the name and the DNS settings"
                )
            case ssl.SSLCertVerificationError():
                return FailedPreconditionError(
                    f"registry {authority} is not trusted: {cause.verify_message}; "
                    "name its CA in hosts.toml if it should be"
                )
            case ssl.SSLError() if cause.reason == "WRONG_VERSION_NUMBER":
                return FailedPreconditionError(
                    f"registry {authority} answers without TLS; configure it as plain http if that is meant"
                )
            case ssl.SSLError() if "ALERT" in (cause.reason or ""):
                return FailedPreconditionError(
                    f"registry {authority} refused the TLS connection; it may want a client certificate"
                )
            case _:
                pass
    return _vague_failure(list(_causes(error)), authority)


def _vague_failure(causes: list[BaseException], authority: str) -> RegistryError:
    for cause in causes:
        match cause:
            case urllib3.exceptions.NewConnectionError() | urllib3.exceptions.ConnectTimeoutError():
                return NotReachableError(
                    f"registry {authority} is not reachable: no connection came about; check the network"
                )
            case urllib3.exceptions.ProxyError():
                return NotReachableError(f"registry {authority} is not reachable through the proxy")
            case TimeoutError() | urllib3.exceptions.ReadTimeoutError():
                return UnavailableError(f"registry {authority} sent nothing for too long; try again")
            case _:
                pass
    if any(isinstance(cause, http.client.LineTooLong | http.client.BadStatusLine) for cause in causes):
        return UnavailableError(f"registry {authority} did not answer in HTTP; try again")
    return UnavailableError(f"the connection to registry {authority} broke; try again")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and those wrapped in it, outermost first: as cause, `reason` or argument."""
    pending = [error]
    for _ in range(MOST_CAUSES):
        if not pending:
            return
        current = pending.pop(0)
        yield current
        inner = (getattr(current, "reason", None), current.__cause__, current.__context__, *current.args)
        pending += [wrapped for wrapped in inner if isinstance(wrapped, BaseException)]


def refusal(status: int, retry_after: str | None, body: bytes, what: str, secret: str = "") -> RegistryError:
    """The error for an HTTP status that is no success; `what` is what was asked, such as `tags of a/b`.

    `secret` is what was sent as Authorization: a server that quotes it is not quoted.
    """
    said = registry_reason(body, secret)
    detail = f"status {status}" + (f", {said}" if said else "")
    if status in BUSY:
        wait = retry_after_seconds(retry_after, time.time())
        return UnavailableError(f"{what}: the registry cannot answer now ({detail})", retry_after=wait)
    kind = _STATUS.get(status)
    if kind is PermissionDeniedError:
        return kind(f"{what}: permission denied ({detail}); log in with an account that may")
    if kind is NotFoundError:
        return kind(f"{what}: not found ({detail})")
    if kind is not None:
        return kind(f"{what}: refused by the registry ({detail})")
    if status >= 500:
        return UnavailableError(f"{what}: the registry failed ({detail})")
    if status < 400:
        return BadContentError(f"{what}: unexpected answer of the registry ({detail})")
    return InvalidArgumentError(f"{what}: refused by the registry ({detail})")


def registry_reason(body: bytes, secret: str = "") -> str:
    """Code and message of the first error in an error document (distribution-spec, Error Codes); or empty."""
    try:
        first = json.loads(body)["errors"][0]
        texts = [first.get("code"), first.get("message")]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""
    said = ": ".join(text for text in texts if isinstance(text, str) and text)
    return "" if any(hidden in said for hidden in _spellings(secret)) else printable(said)


def _spellings(secret: str) -> list[str]:
    """What of an Authorization header must not be seen: the token, or the login as sent and its password."""
    token = secret.rpartition(" ")[2]
    password = ""
    if secret.startswith("Basic "):
        password = base64.b64decode(token).decode(errors="replace").partition(":")[2]
    return [spelling for spelling in (token, password) if spelling]


def printable(text: str) -> str:
    """A stranger's text as one short line without control characters."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return shown[:LONGEST_REASON].strip()
