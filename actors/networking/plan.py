"""A new network, from what was asked for and what there is already. Pure.

What was not said is chosen: a free /24 of the pool, the first address for the host, a name for the interface.
Everything that would not work later is refused here, with what would.
"""

import hashlib
import ipaddress
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from actors.networking import cni
from storage.errors import FailedPreconditionError, InvalidArgumentError
from storage.names import check_identifier
from storage.networks import Network

KINDS: Final = ("bridge", "macvlan", "vxlan", "cni")
RESERVED: Final = ("host", "none", "container")
POOL: Final = ipaddress.IPv4Network("10.89.0.0/16")
POOL_PREFIX: Final = 24
MACVLAN_MODES: Final = ("bridge", "private", "vepa", "passthru")
MIN_MTU, MAX_MTU = 576, 65535
MIN_MTU_V6 = 1280  # RFC 8200, section 5
MAX_VNI: Final = (1 << 24) - 1
_INTERFACE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_OPTIONS: Final[Mapping[str, frozenset[str]]] = {
    "bridge": frozenset(),
    "macvlan": frozenset({"mode"}),
    "vxlan": frozenset({"vni", "port", "local", "remotes"}),
    "cni": frozenset({"config"}),
}

Net = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for; empty means: to be chosen.

    Attributes:
        parent: of a macvlan, the host's interface below it.
        ipv6: choose an IPv6 subnet too.
    """

    name: str
    kind: str = "bridge"
    subnets: Sequence[str] = ()
    gateways: Sequence[str] = ()
    ranges: Sequence[str] = ()
    parent: str = ""
    mtu: int = 0
    internal: bool = False
    ipv6: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


def interface_name(letter: str, *words: str) -> str:
    """A name for an interface of the host: 12 of the 15 characters that there are, the same every time."""
    return letter + hashlib.sha256("\0".join(words).encode()).hexdigest()[:11]


def plan(wish: Wish, scope: str, networks: Sequence[Network], routes: Collection[str]) -> Network:
    """The network that is to be made.

    `scope` tells the networks of this daemon from those of another on the same host, `routes` are the
    destinations that the host knows a way to.

    Raises:
        InvalidArgumentError: something asked for makes no sense; the text names it.
        FailedPreconditionError: a subnet overlaps with another network or with a route of the host, or no
            subnet is left.
    """
    _check(wish)
    others = {subnet: f"network {one.name}" for one in networks for subnet in one.subnets}
    ways = dict.fromkeys(routes, "a route of this host")
    subnets = [_subnet(text) for text in wish.subnets]
    if wish.kind == "cni":
        config = {"config": cni.parse(str(wish.options.get("config", "")))}
        return Network(wish.name, "cni", "", options=config, labels=dict(wish.labels))
    if not subnets:
        subnets = [_free(POOL, POOL_PREFIX, (*others, *ways))]
    if wish.ipv6 and not any(one.version == 6 for one in subnets):
        subnets.append(_ula(scope, wish.name))
    for subnet in subnets:
        _refuse_overlap(subnet, others if wish.kind == "macvlan" else others | ways)
    subnets.sort(key=lambda one: one.version)
    gateways = _gateways(wish, subnets)
    return Network(
        name=wish.name,
        kind=wish.kind,
        interface=wish.parent or interface_name("b", scope, wish.name),
        subnets=tuple(map(str, subnets)),
        gateways=gateways,
        ranges=_ranges(wish, subnets),
        mtu=wish.mtu,
        internal=wish.internal,
        options=dict(wish.options),
        labels=dict(wish.labels),
    )


def _check(wish: Wish) -> None:
    check_identifier("network", wish.name)
    if wish.name in RESERVED:
        raise InvalidArgumentError(f"network name {wish.name} has a meaning of its own; choose another one")
    if wish.kind not in KINDS:
        raise InvalidArgumentError(f"network kind {wish.kind!a} is none of {', '.join(KINDS)}")
    unknown = set(wish.options) - _OPTIONS[wish.kind]
    if unknown:
        known = ", ".join(sorted(_OPTIONS[wish.kind])) or "none"
        raise InvalidArgumentError(
            f"option {', '.join(sorted(unknown))} is unknown to a {wish.kind} network, which has: {known}"
        )
    _check_numbers(wish)
    if wish.kind == "macvlan":
        _check_macvlan(wish)
    elif wish.parent:
        raise InvalidArgumentError(f"a {wish.kind} network has no parent interface; only a macvlan has")


def _check_numbers(wish: Wish) -> None:
    lowest = MIN_MTU_V6 if wish.ipv6 or any(":" in one for one in wish.subnets) else MIN_MTU
    if wish.mtu and not lowest <= wish.mtu <= MAX_MTU:
        raise InvalidArgumentError(f"mtu {wish.mtu} is not between {lowest} and {MAX_MTU}")
    if wish.kind != "vxlan":
        return
    vni = wish.options.get("vni")
    if not isinstance(vni, int) or not 0 < vni <= MAX_VNI:
        raise InvalidArgumentError(f"a vxlan network wants option vni, a number from 1 to {MAX_VNI}")
    addresses = [*wish.options.get("remotes", ()), *filter(None, [wish.options.get("local", "")])]
    for text in addresses:
        _address(text)


def _check_macvlan(wish: Wish) -> None:
    if not _INTERFACE.fullmatch(wish.parent):
        raise InvalidArgumentError(
            f"a macvlan network wants the name of a parent interface, not {wish.parent!a}"
        )
    if not wish.subnets:
        raise InvalidArgumentError("a macvlan network wants the subnet of its parent interface's network")
    mode = wish.options.get("mode", "bridge")
    if mode not in MACVLAN_MODES:
        raise InvalidArgumentError(f"macvlan mode {mode!a} is none of {', '.join(MACVLAN_MODES)}")


def _parsed(text: str) -> Net:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise InvalidArgumentError(f"subnet {text[:60]!a} is not valid: {error}") from None


def _subnet(text: str) -> Net:
    found = _parsed(text)
    most = 29 if found.version == 4 else 125
    if found.prefixlen > most:
        raise InvalidArgumentError(f"subnet {text} is too small: use a prefix of at most {most}")
    if found.is_loopback or found.is_multicast or found.is_link_local or found.prefixlen == 0:
        raise InvalidArgumentError(f"subnet {text} cannot be used for containers")
    return found


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise InvalidArgumentError(f"address {str(text)[:60]!a} is not valid") from None


def _free(pool: ipaddress.IPv4Network, prefix: int, taken: Collection[str]) -> Net:
    used = [one for one in map(ipaddress.ip_network, taken) if one.version == 4]
    for candidate in pool.subnets(new_prefix=prefix):
        if not any(candidate.overlaps(one) for one in used if isinstance(one, ipaddress.IPv4Network)):
            return candidate
    raise FailedPreconditionError(f"no free subnet is left in {pool}; say one with --subnet")


def _ula(scope: str, name: str) -> ipaddress.IPv6Network:
    """A /64 that nobody else has, by chance (RFC 4193, section 3.2), and the same for this name each time."""
    digest = hashlib.sha256(f"{scope}\0{name}".encode()).digest()
    return ipaddress.IPv6Network((bytes([0xFD]) + digest[:7] + bytes(8), 64))


def _refuse_overlap(subnet: Net, taken: Mapping[str, str]) -> None:
    for text, owner in taken.items():
        other = ipaddress.ip_network(text)
        if type(other) is type(subnet) and subnet.overlaps(other):
            raise FailedPreconditionError(
                f"subnet {subnet} overlaps with {other}, which is {owner}; choose another one"
            )


def _gateways(wish: Wish, subnets: Sequence[Net]) -> tuple[str, ...]:
    """The host's address in each subnet; of a macvlan, the router's, if one was named."""
    asked = [_address(text) for text in wish.gateways]
    found = []
    for subnet in subnets:
        mine = next((one for one in asked if one in subnet), None)
        if mine is not None:
            asked.remove(mine)
        elif wish.kind == "macvlan":
            continue
        found.append(str(mine or subnet[1]))
    if asked:
        raise InvalidArgumentError(f"gateway {asked[0]} is in none of {', '.join(map(str, subnets))}")
    return tuple(found)


def _ranges(wish: Wish, subnets: Sequence[Net]) -> tuple[str, ...]:
    asked = [_parsed(text) for text in wish.ranges]
    found = []
    for subnet in subnets:
        mine = next((one for one in asked if type(one) is type(subnet) and one.subnet_of(subnet)), None)  # type: ignore[arg-type]
        if mine is not None:
            asked.remove(mine)
        found.append(str(mine or subnet))
    if asked:
        raise InvalidArgumentError(f"range {asked[0]} is in none of {', '.join(map(str, subnets))}")
    return tuple(found)
