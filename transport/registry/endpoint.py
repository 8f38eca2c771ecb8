"""An endpoint: one server that answers for a registry host, and what it may be trusted with.

Its certificates and headers are its own and follow no redirect to another host, and credentials are looked
up for the endpoint, never for the registry that it mirrors.
"""

import ipaddress
import re
from dataclasses import dataclass, field, replace

from transport.registry.errors import InvalidArgumentError

PULL = "pull"
RESOLVE = "resolve"
PUSH = "push"
ALL = frozenset({PULL, RESOLVE, PUSH})
DIAL_TIMEOUT = 10.0
DOCKER_HUB = "docker.io"
DOCKER_HUB_ENDPOINT = "registry-1.docker.io"
DOCKER_HUB_NAMES = frozenset({DOCKER_HUB, "index.docker.io", DOCKER_HUB_ENDPOINT})

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9a-fA-F:.]{2,45}\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Tls:
    """How to trust a server and what to show it: paths of PEM files, read at the first connection."""

    ca: tuple[str, ...] = ()
    client: tuple[tuple[str, str | None], ...] = ()
    skip_verify: bool = False

    def for_strangers(self) -> "Tls":
        """The same trust without our own certificates, for hosts that an endpoint redirects to."""
        return replace(self, client=())


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server that answers for a registry host."""

    host: str  # the registry host as references name it
    scheme: str
    authority: str  # the server's host or host:port
    path: str = "/v2"
    capabilities: frozenset[str] = ALL
    tls: Tls = Tls()
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # may hold credentials
    dial_timeout: float = DIAL_TIMEOUT

    @property
    def base(self) -> str:
        """The address that API paths are appended to, without a slash at the end."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def is_mirror(self) -> bool:
        """Whether this is another server than the registry itself: it must be told which one is meant."""
        return canonical_host(self.authority) != canonical_host(self.host)


def check_host(host: str) -> None:
    """Raise InvalidArgumentError unless `host` is a host name or address with or without a port."""
    if not _HOST.fullmatch(host) or not split_port(host)[1] <= 65535:
        raise InvalidArgumentError(f"registry host {host[:80]!r} is malformed; name it as host or host:port")


def split_port(authority: str) -> tuple[str, int]:
    """Host, without brackets, and port of an authority; 0 where it names none."""
    host, colon, port = authority.rpartition(":")
    if not colon or not port.isdigit():
        return authority.strip("[]"), 0
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether a bare host name or address means this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_plain_by_default(authority: str) -> bool:
    """Whether plain HTTP is what to speak when nothing is configured: on loopback, but not on port 443."""
    host, port = split_port(authority)
    return is_loopback(host) and port != 443


def canonical_host(authority: str) -> str:
    """The name under which a registry is known, whichever of its names is used."""
    name = authority.lower().removesuffix(":443")
    return DOCKER_HUB if name in DOCKER_HUB_NAMES else name


def repository_path(host: str, repository: str) -> str:
    """The repository's name as its registry knows it: Docker's official images live in `library/`."""
    official = canonical_host(host) == DOCKER_HUB and "/" not in repository
    return f"library/{repository}" if official else repository
