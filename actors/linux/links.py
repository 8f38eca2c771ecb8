"""Network interfaces: bridges, veth pairs, macvlan and vxlan, their addresses and routes. rtnetlink(7).

What is made here carries an alias (`IFLA_IFALIAS`) that says whose it is, so that it can be found again by
a process that did not make it. Every function can be called again: what is right already is left alone.

pyroute2 is imported by the first call: it takes a quarter of a second and eleven megabytes, which only the
network actor should pay.
"""

import ctypes
import errno
import hashlib
import ipaddress
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from actors.linux.libc import checked, libc
from actors.linux.threads import CLONE_NEWNET, in_own_thread

_Result = TypeVar("_Result")
_IFA_F_NODAD = 0x02
_TBF_LATENCY = "50ms"
_TBF_BURST = 1 << 16  # bytes
_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ESRCH, errno.EADDRNOTAVAIL})


@dataclass(frozen=True, slots=True)
class Link:
    """An interface as the kernel has it; addresses as `10.0.0.1/24`, without link-local ones."""

    index: int
    name: str
    kind: str
    alias: str
    up: bool
    mtu: int
    mac: str
    master: int
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inside:
    """How an interface is to look in a container's namespace.

    Attributes:
        gateways: default routes, at most one of IPv4 and one of IPv6; none for a network of lesser rank.
        rate: bytes per second in each direction, 0 for no limit.
    """

    name: str
    addresses: Sequence[str] = ()
    gateways: Sequence[str] = ()
    mac: str = ""
    mtu: int = 0
    rate: int = 0


@dataclass(frozen=True, slots=True)
class Vxlan:
    """The tunnel of a bridge that spans hosts (RFC 7348). Empty `remotes` means: nobody yet."""

    vni: int
    port: int = 4789
    local: str = ""
    remotes: Sequence[str] = field(default_factory=tuple)


@contextmanager
def _netlink() -> Iterator[Any]:
    from pyroute2 import IPRoute  # noqa: PLC0415  # see above
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415

    try:
        with IPRoute() as route:
            yield route
    except NetlinkError as error:
        raise OSError(error.code, os.strerror(error.code)) from error


def within(namespace: Path | None, work: Callable[[], _Result]) -> _Result:
    """Run `work` in the network namespace that is bound to this file; None: in ours.

    Raises:
        OSError: there is no namespace, or what `work` raises.
    """
    if namespace is None:
        return work()

    def body() -> _Result:
        descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            checked(libc.setns, ctypes.c_int(descriptor), ctypes.c_int(CLONE_NEWNET), about=str(namespace))
        finally:
            os.close(descriptor)
        return work()

    return in_own_thread(0, body)


def links(namespace: Path | None = None) -> tuple[Link, ...]:
    """All interfaces of a namespace."""

    def read() -> tuple[Link, ...]:
        with _netlink() as route:
            addresses: dict[int, list[str]] = {}
            for one in route.get_addr():
                text = f"{one.get_attr('IFA_ADDRESS')}/{one['prefixlen']}"
                if not ipaddress.ip_interface(text).is_link_local:
                    addresses.setdefault(one["index"], []).append(text)
            return tuple(_link(one, addresses.get(one["index"], [])) for one in route.get_links())

    return within(namespace, read)


def _link(one: Any, addresses: list[str]) -> Link:
    info = one.get_attr("IFLA_LINKINFO")
    return Link(
        index=one["index"],
        name=one.get_attr("IFLA_IFNAME"),
        kind=(info.get_attr("IFLA_INFO_KIND") or "") if info else "",
        alias=one.get_attr("IFLA_IFALIAS") or "",
        up=bool(one["flags"] & 1),
        mtu=one.get_attr("IFLA_MTU") or 0,
        mac=one.get_attr("IFLA_ADDRESS") or "",
        master=one.get_attr("IFLA_MASTER") or 0,
        addresses=tuple(addresses),
    )


def find(name: str, namespace: Path | None = None) -> Link | None:
    """The interface of that name, or None."""
    return next((one for one in links(namespace) if one.name == name), None)


def routes() -> tuple[str, ...]:
    """Destinations that this host knows a way to, less the default ones: `10.0.0.0/24`."""
    found = []
    with _netlink() as route:
        for one in route.get_routes():
            to = one.get_attr("RTA_DST")
            if to and one["type"] == 1 and not ipaddress.ip_address(to).is_link_local:
                found.append(f"{to}/{one['dst_len']}")
    return tuple(found)


def remove(name: str, namespace: Path | None = None) -> None:
    """Remove an interface, and with it the other end of a pair. One that is gone is fine."""

    def work() -> None:
        with _netlink() as route:
            for index in route.link_lookup(ifname=name):
                _unless_gone(partial(route.link, "del", index=index))

    within(namespace, work)


def _unless_gone(work: Callable[[], object]) -> None:
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415

    try:
        work()
    except NetlinkError as error:
        if error.code not in _GONE:
            raise


def _unless_there(work: Callable[[], object]) -> None:
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415

    try:
        work()
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise


def ensure_bridge(
    name: str, alias: str, addresses: Sequence[str], *, mtu: int = 0, vxlan: Vxlan | None = None
) -> None:
    """A bridge with these addresses, up; with a tunnel as one of its ports, if it spans hosts.

    Raises:
        OSError: no privilege; an interface of that name is not a bridge; an address is another one's.
    """
    found = find(name)
    if found is not None and found.kind != "bridge":
        raise FileExistsError(errno.EEXIST, f"interface {name} is there and is no bridge")
    with _netlink() as route:
        if found is None:
            size = {"mtu": mtu} if mtu else {}
            route.link("add", ifname=name, kind="bridge", address=steady_mac(name), **size)
        index = route.link_lookup(ifname=name)[0]
        for address in addresses:
            if found is None or address not in found.addresses:
                _add_address(route, index, address)
        if vxlan is not None:
            _ensure_tunnel(route, f"x{name[1:]}", alias, index, vxlan)
        route.link("set", index=index, ifalias=alias, state="up")


def steady_mac(name: str) -> str:
    """One that is the same each time. A bridge without takes the lowest of its ports', which come and go."""
    digest = hashlib.sha256(name.encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def _ensure_tunnel(route: Any, name: str, alias: str, bridge: int, vxlan: Vxlan) -> None:
    if not route.link_lookup(ifname=name):
        local = {"vxlan_local": vxlan.local} if vxlan.local else {}
        route.link("add", ifname=name, kind="vxlan", vxlan_id=vxlan.vni, vxlan_port=vxlan.port, **local)
    index = route.link_lookup(ifname=name)[0]
    route.link("set", index=index, master=bridge, ifalias=alias, state="up")
    for remote in vxlan.remotes:  # what is for everybody, or for a host not heard of yet, goes to each
        _unless_there(partial(route.fdb, "append", ifindex=index, lladdr="00:00:00:00:00:00", dst=remote))


def ensure_pair(name: str, alias: str, bridge: str, namespace: Path, inside: Inside) -> None:
    """A veth pair: `name` on the bridge, the other end in the namespace, furnished.

    Raises:
        OSError: the bridge or the namespace is not there, or as netlink has it.
    """
    with _netlink() as route:
        masters = route.link_lookup(ifname=bridge)
        if not masters:
            raise OSError(errno.ENODEV, f"bridge {bridge} is not there; see actr network check --mend")
        here = bool(route.link_lookup(ifname=name))
        if here and find(inside.name, namespace) is None:  # half of an earlier attempt
            _unless_gone(partial(route.link, "del", ifname=name))
            here = False
        if not here:
            peer = {"ifname": inside.name, "net_ns_fd": str(namespace)}
            size = {"mtu": inside.mtu} if inside.mtu else {}
            route.link("add", ifname=name, kind="veth", peer=peer | size, **size)
        index = route.link_lookup(ifname=name)[0]
        route.link("set", index=index, master=masters[0], ifalias=alias, state="up")
        # Hairpin: with br_netfilter, a packet may have to go back where it came from.
        route.brport("set", index=index, mode=1)
        _limit(route, index, inside.rate)
    within(namespace, lambda: _furnish(inside))


def ensure_macvlan(parent: str, mode: str, namespace: Path, inside: Inside) -> None:
    """A macvlan on `parent`, in the namespace, furnished.

    Raises:
        OSError: the parent or the namespace is not there, or as netlink has it.
    """
    if find(inside.name, namespace) is None:
        with _netlink() as route:
            above = route.link_lookup(ifname=parent)
            if not above:
                raise OSError(errno.ENODEV, f"interface {parent} is not there")
            size = {"mtu": inside.mtu} if inside.mtu else {}
            route.link(
                "add", ifname=inside.name, kind="macvlan", link=above[0], macvlan_mode=mode,
                net_ns_fd=str(namespace), **size,
            )  # fmt: skip
    within(namespace, lambda: _furnish(inside))


def _furnish(inside: Inside) -> None:
    """In the namespace: address, up, default route."""
    with _netlink() as route:
        index = route.link_lookup(ifname=inside.name)[0]
        if inside.mac and route.get_links(index)[0].get_attr("IFLA_ADDRESS") != inside.mac:
            route.link("set", index=index, address=inside.mac)
        for address in inside.addresses:
            _add_address(route, index, address)
        route.link("set", index=index, state="up")
        for gateway in inside.gateways:
            default = "::/0" if ":" in gateway else "0.0.0.0/0"
            _unless_there(partial(route.route, "add", dst=default, gateway=gateway, oif=index))
        _limit(route, index, inside.rate)


def _add_address(route: Any, index: int, address: str) -> None:
    at, _, prefix = address.partition("/")
    # NODAD: who gives addresses out sees to it that no address is there twice, and nobody wants to wait.
    extra = {"flags": _IFA_F_NODAD} if ":" in at else {}
    _unless_there(partial(route.addr, "add", index=index, address=at, prefixlen=int(prefix), **extra))


def _limit(route: Any, index: int, rate: int) -> None:
    """A token bucket (tbf) on what leaves through this interface."""
    if rate:
        burst = max(_TBF_BURST, rate // 50)
        route.tc("replace", "tbf", index, 0x10000, rate=rate, burst=burst, latency=_TBF_LATENCY)


def create(
    name: str,
    kind: str,
    namespace: Path | None,
    *,
    peer: str = "",
    peer_namespace: Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """One interface as it was asked for; of a veth both ends.

    Raises:
        OSError: as netlink has it; EINVAL for options that make no sense.
    """
    said = dict(options or {})

    def work() -> None:
        with _netlink() as route:
            more = _made_of(route, kind, said)
            if kind == "veth":
                place = peer_namespace or Path(f"/proc/{os.getpid()}/ns/net")
                more["peer"] = {"ifname": peer or f"{name}-p"[:15], "net_ns_fd": str(place)}
            route.link("add", ifname=name, kind=kind, **more)

    within(namespace, work)


def _made_of(route: Any, kind: str, said: dict[str, Any]) -> dict[str, Any]:
    """What netlink wants to know of an interface of this kind. Raises OSError."""
    more: dict[str, Any] = {}
    if kind in ("macvlan", "vlan"):
        above = route.link_lookup(ifname=str(said.get("parent", "")))
        if not above:
            raise OSError(errno.ENODEV, f"interface {said.get('parent')} is not there")
        more["link"] = above[0]
    if kind == "macvlan":
        more["macvlan_mode"] = said.get("mode", "bridge")
    elif kind == "vlan":
        more["vlan_id"] = int(said.get("id", 0))
    elif kind == "vxlan":
        more |= {"vxlan_id": int(said.get("vni", 0)), "vxlan_port": int(said.get("port", 4789))}
        more |= {"vxlan_local": said["local"]} if said.get("local") else {}
    return more


def change(
    name: str,
    namespace: Path | None,
    *,
    up: bool | None = None,
    addresses: Sequence[str] = (),
    mtu: int = 0,
    mac: str = "",
    bridge: str = "",
    gateway: str = "",
    move_to: Path | None = None,
) -> None:
    """Change an interface, and move it last.

    Raises:
        OSError: it is not there, or as netlink has it.
    """

    def work() -> None:
        with _netlink() as route:
            index = _index(route, name)
            settings: dict[str, Any] = {"mtu": mtu} if mtu else {}
            settings |= {"address": mac} if mac else {}
            settings |= {"master": _index(route, bridge)} if bridge else {}
            settings |= {"state": "up" if up else "down"} if up is not None else {}
            if settings:
                route.link("set", index=index, **settings)
            for address in addresses:
                _add_address(route, index, address)
            if gateway:
                default = "::/0" if ":" in gateway else "0.0.0.0/0"
                _unless_there(partial(route.route, "add", dst=default, gateway=gateway, oif=index))
            if move_to is not None:
                route.link("set", index=index, net_ns_fd=str(move_to))

    within(namespace, work)


def _index(route: Any, name: str) -> int:
    found = route.link_lookup(ifname=name)
    if not found:
        raise OSError(errno.ENODEV, f"interface {name} is not there")
    return int(found[0])


def owned(alias: str) -> Iterable[Link]:
    """Interfaces of this namespace whose alias begins so."""
    return [one for one in links() if one.alias.startswith(alias)]
