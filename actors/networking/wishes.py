"""How a container is to be connected, as `containers.create` has it in its options. Pure."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from actors.networking import publishing
from storage.errors import FailedPreconditionError, InvalidArgumentError
from storage.networks import Endpoint, Port

DEFAULT_NETWORK: Final = "bridge"
MOST_NETWORKS: Final = 32
SHARED: Final = "container:"
MOST_ALIASES: Final = 64
SLOWEST, FASTEST = 1000, 4 * 10**9  # bytes per second; the kernel's numbers for tc have 32 bits
_MAC: Final = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")


@dataclass(frozen=True, slots=True)
class Connection:
    """One network, and what of it is not left to chance.

    Attributes:
        addresses: at most one for each subnet; what is missing is chosen.
        rate: bytes per second in each direction, 0 for no limit.
    """

    network: str = DEFAULT_NETWORK
    addresses: tuple[str, ...] = ()
    mac: str = ""
    aliases: tuple[str, ...] = ()
    rate: int = 0


@dataclass(frozen=True, slots=True)
class PortWish:
    """A port to be published; `host_port` 0 means any."""

    container_port: int
    protocol: str = "tcp"
    host: str = ""
    host_port: int = 0


@dataclass(frozen=True, slots=True)
class Wish:
    """The whole.

    Attributes:
        mode: empty for a namespace of its own, `host`, or `container:ID` for another container's.
        networks: in order; the first one has the default route.
        dns: name servers instead of those that would be chosen.
        hosts: further lines of /etc/hosts: an address and a name.
    """

    mode: str = ""
    networks: tuple[Connection, ...] = ()
    ports: tuple[PortWish, ...] = ()
    dns: tuple[str, ...] = ()
    hosts: tuple[tuple[str, str], ...] = ()


def parse(wish: Mapping[str, Any]) -> Wish:
    """Read it.

    Raises:
        InvalidArgumentError: an unknown or malformed field, or things that exclude each other.
    """
    try:
        found: Wish = msgspec.convert(wish, _strict(Wish, wish))
    except msgspec.ValidationError as error:
        raise InvalidArgumentError(f"network: {error}") from error
    if found.mode not in ("", "host") and not found.mode.startswith(SHARED):
        raise InvalidArgumentError(f"network mode {found.mode!a} is none of host, container:ID")
    if found.mode and (found.networks or found.ports):
        raise InvalidArgumentError(f"with network mode {found.mode} no networks or ports can be given")
    if len(found.networks) > MOST_NETWORKS or len(found.ports) > publishing.MOST:
        raise InvalidArgumentError(
            f"at most {MOST_NETWORKS} networks and {publishing.MOST} ports for one container"
        )
    for one in found.networks:
        _check(one)
    for server in found.dns:
        _check_address("dns server", server)
    for address, name in found.hosts:
        _check_address(f"address of host {name[:60]!a}", address)
        _check_name("host name", name)
    if found.ports and not found.networks:
        raise InvalidArgumentError("ports are published from a network; name one, for example --net bridge")
    return found


def connection(network: str, wish: Mapping[str, Any]) -> Connection:
    """That of `network.connect`. Raises InvalidArgumentError."""
    try:
        found: Connection = msgspec.convert({**wish, "network": network}, _strict(Connection, wish))
    except msgspec.ValidationError as error:
        raise InvalidArgumentError(f"network: {error}") from error
    _check(found)
    return found


def _check(one: Connection) -> None:
    """What is found out only in the middle of the work ends more than one container's start."""
    for address in one.addresses:
        _check_address("address", address.partition("/")[0])
    if one.mac and not _MAC.fullmatch(one.mac):
        raise InvalidArgumentError(f"mac {one.mac[:60]!a} is not six bytes as 02:00:00:00:00:01")
    if one.rate and not SLOWEST <= one.rate <= FASTEST:
        raise InvalidArgumentError(f"rate {one.rate} is not from {SLOWEST} to {FASTEST} bytes per second")
    if len(one.aliases) > MOST_ALIASES:
        raise InvalidArgumentError(f"at most {MOST_ALIASES} aliases on one network")
    for alias in one.aliases:
        _check_name("alias", alias)


def _check_address(what: str, text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise InvalidArgumentError(f"{what} {text[:60]!a} is not an IPv4 or IPv6 address") from None


def _check_name(what: str, text: str) -> None:
    if len(text) > 253 or not _NAME.fullmatch(text):
        raise InvalidArgumentError(
            f"{what} {text[:60]!a} is not valid: use letters, digits, `-`, `_` and `.`"
        )


def connections(wish: Mapping[str, Any], network: str, how: Mapping[str, Any] | None) -> dict[str, Any]:
    """A container's wish with one network more, or (None) one less. What is so already stays as it is.

    Raises:
        FailedPreconditionError: it has published ports and would be on no network.
    """
    there = list(wish.get("networks", ()))
    if how is None:
        left = [one for one in there if one.get("network", DEFAULT_NETWORK) != network]
    elif all(one.get("network", DEFAULT_NETWORK) != network for one in there):
        left = [*there, {**how, "network": network}]
    else:
        left = there
    if wish.get("ports") and not left:
        raise FailedPreconditionError(
            f"its ports are published from network {network}, its only one; connect it to another one first"
        )
    return {**wish, "networks": left}


def _strict(kind: type[Any], given: Mapping[str, Any]) -> type[Any]:
    """A misspelt field must not be passed over in silence."""
    unknown = set(given) - set(kind.__dataclass_fields__)
    if unknown:
        raise InvalidArgumentError(f"network: unknown field {', '.join(sorted(unknown))}")
    return kind


def endpoints(namespace: str, container: str, name: str, networks: Sequence[Connection]) -> list[Endpoint]:
    """What is to be recorded for each network."""
    return [
        Endpoint(
            one.network, namespace, container, number, one.addresses, one.mac, name, one.aliases, one.rate
        )
        for number, one in enumerate(networks)
    ]


def port(namespace: str, container: str, wish: PortWish) -> Port:
    """What is to be recorded for a port. Raises InvalidArgumentError."""
    found = Port(wish.protocol, wish.host, wish.host_port, namespace, container, wish.container_port)
    publishing.check(found)
    return found
