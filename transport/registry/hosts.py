"""Which endpoints serve a registry host, in the order in which to ask them.

Without settings a host serves itself. In hosts.toml an operator puts mirrors before it. The format is
containerd's, so that its directories can be used unchanged: top-level keys describe the server itself, each
`[host."..."]` table a mirror, in the order of the file. Relative paths start at the file.
"""

import re
import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from transport.registry.endpoint import (
    ALL,
    DOCKER_HUB_ENDPOINT,
    DOCKER_HUB_NAMES,
    Endpoint,
    Tls,
    check_host,
    is_plain_by_default,
    split_port,
)
from transport.registry.errors import FailedPreconditionError, InvalidArgumentError

FILE_NAME = "hosts.toml"
LARGEST_FILE = 1 << 20

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:ns|us|µs|ms|s|m|h))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")


@dataclass(frozen=True, slots=True)
class Hosts:
    """The settings that decide on endpoints: directories with hosts.toml files, and exceptions by host."""

    directories: Sequence[Path] = ()
    plain_http: Collection[str] = frozenset()
    skip_verify: Collection[str] = frozenset()

    def serving(self, host: str, capability: str) -> tuple[Endpoint, ...]:
        """The endpoints of `host` that may be used for `capability`, best first.

        Raises:
            InvalidArgumentError: `host` is no host name.
            FailedPreconditionError: its hosts.toml cannot be used, or allows nobody to do this.
        """
        own = self.default_endpoint(host)
        found = configured_endpoints(own, self.directories)
        return tuple(endpoint for endpoint in found if capability in endpoint.capabilities)

    def default_endpoint(self, host: str) -> Endpoint:
        """The endpoint of `host` as if there were no hosts.toml."""
        check_host(host)
        plain = host in self.plain_http or is_plain_by_default(host)
        tls = Tls(skip_verify=host in self.skip_verify)
        authority = DOCKER_HUB_ENDPOINT if host in DOCKER_HUB_NAMES else host
        return Endpoint(host, "http" if plain else "https", authority, tls=tls)


def configured_endpoints(own: Endpoint, directories: Sequence[Path]) -> tuple[Endpoint, ...]:
    """The endpoints for `own.host` by the first hosts.toml found; `own` alone when there is none.

    Raises:
        FailedPreconditionError: the file cannot be read or is wrong; the text names it.
    """
    path = find_file(own.host, directories)
    if path is None:
        return (own,)
    try:
        document = _load(path)
        return parse_hosts(document, own, path.parent)
    except (OSError, ValueError, InvalidArgumentError) as error:
        raise FailedPreconditionError(f"{path} cannot be used: {error}; correct it") from error


def find_file(host: str, directories: Sequence[Path]) -> Path | None:
    """The hosts.toml that decides for `host`: `host_port_` before `host:port` before `_default`."""
    for directory in directories:
        for name in _directory_names(host):
            if (directory / name / FILE_NAME).is_file():
                return directory / name / FILE_NAME
    return None


def _directory_names(host: str) -> tuple[str, ...]:
    bare, port = split_port(host)
    shown = f"[{bare}]" if ":" in bare else bare
    return (f"{shown}_{port}_", host, "_default") if port else (host, "_default")


def _load(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        text = file.read(LARGEST_FILE + 1)
    if len(text) > LARGEST_FILE:
        raise InvalidArgumentError("it is larger than 1 MiB")
    return tomllib.loads(text.decode())


def parse_hosts(document: dict[str, Any], own: Endpoint, folder: Path) -> tuple[Endpoint, ...]:
    """The mirrors of a parsed hosts.toml, then the server: the one it names or `own`.

    Raises:
        InvalidArgumentError: a key has a value of the wrong kind; the text names it.
    """
    server = _text(document, "server") or own.base.removesuffix("/v2")
    mirrors = _table(document, "host")
    endpoints = [_endpoint(own, address, _table(mirrors, address), folder) for address in mirrors]
    last = _endpoint(own, server, document, folder)
    if own.tls.skip_verify:
        last = replace(last, tls=replace(last.tls, skip_verify=True))
    return (*endpoints, last)


def _endpoint(own: Endpoint, address: str, table: dict[str, Any], folder: Path) -> Endpoint:
    scheme, authority, path = _split_address(address)
    if not _flag(table, "override_path"):
        path = path.removesuffix("/v2") + "/v2"
    return Endpoint(
        own.host,
        scheme,
        authority,
        path,
        _capabilities(table),
        _tls(table, folder),
        _headers(table),
        _duration(table, "dial_timeout") or own.dial_timeout,
    )


def _split_address(address: str) -> tuple[str, str, str]:
    if "://" not in address:
        plain = is_plain_by_default(address.partition("/")[0])
        address = f"{'http' if plain else 'https'}://{address}"
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or parts.username is not None or parts.query or parts.fragment:
        raise InvalidArgumentError(
            f"the address of {parts.hostname!r} is not of the form https://host:port/path"
        )
    check_host(parts.netloc)
    return parts.scheme, parts.netloc, parts.path.rstrip("/")


def _capabilities(table: dict[str, Any]) -> frozenset[str]:
    if "capabilities" not in table:
        return ALL
    named = frozenset(_texts(table, "capabilities"))
    if not named <= ALL:
        raise InvalidArgumentError(f"capabilities are pull, resolve and push, not {sorted(named - ALL)}")
    return named


def _tls(table: dict[str, Any], folder: Path) -> Tls:
    def place(path: str) -> str:
        return str(folder / path)

    ca = tuple(place(path) for path in _texts(table, "ca"))
    client = tuple(
        (place(certificate), place(key) if key else None) for certificate, key in _client_pairs(table)
    )
    return Tls(ca, client, _flag(table, "skip_verify"))


def _client_pairs(table: dict[str, Any]) -> list[tuple[str, str | None]]:
    """`client` is one PEM file, a list of them, or a list of [certificate, key] pairs."""
    value = table.get("client", [])
    pairs: list[tuple[str, str | None]] = []
    for item in [value] if isinstance(value, str) else value if isinstance(value, list) else [None]:
        match item:
            case str():
                pairs.append((item, None))
            case [str() as certificate]:
                pairs.append((certificate, None))
            case [str() as certificate, str() as key]:
                pairs.append((certificate, key or None))
            case _:
                raise InvalidArgumentError("client must name files or [certificate, key] pairs")
    return pairs


def _headers(table: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    named = _table(table, "header")
    headers = tuple((name, value) for name in named for value in _texts(named, name))
    for name, value in headers:
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not value.isprintable():
            raise InvalidArgumentError(f"header {name!r} is malformed")
    return headers


def _duration(table: dict[str, Any], key: str) -> float | None:
    """Seconds of a duration in Go's notation, such as 1.5s or 1m30s."""
    text = _text(table, key)
    if text is None:
        return None
    if not _DURATION.fullmatch(text):
        raise InvalidArgumentError(f"{key} must be a duration such as 1s or 500ms")
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))


def _table(table: dict[str, Any], key: str) -> dict[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise InvalidArgumentError(f"{key!r} must be a table")
    return value


def _text(table: dict[str, Any], key: str) -> str | None:
    value = table.get(key)
    if value is not None and not isinstance(value, str):
        raise InvalidArgumentError(f"{key} must be text")
    return value


def _texts(table: dict[str, Any], key: str) -> list[str]:
    value = table.get(key, [])
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InvalidArgumentError(f"{key} must be text or a list of texts")
    return texts


def _flag(table: dict[str, Any], key: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise InvalidArgumentError(f"{key} must be true or false")
    return value
