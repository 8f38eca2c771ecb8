"""Names: what a container finds in /etc/hosts and /etc/resolv.conf, and what the resolver knows. Pure."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from actors.networking.wishes import Wish
from storage.networks import Endpoint, Network, Port


def host_answer(wish: Wish) -> dict[str, Any]:
    """For a container in the host's own namespace: the host's files serve it."""
    return {"path": "", "hosts": list(wish.hosts), "nameservers": list(wish.dns), "ports": []}


def shared_answer(path: Path, wish: Wish) -> dict[str, Any]:
    """For one in another container's namespace."""
    return {"path": str(path), "hosts": list(wish.hosts), "nameservers": list(wish.dns), "ports": []}


def own_answer(
    path: Path,
    name: str,
    wish: Wish,
    pairs: Sequence[tuple[Network, Endpoint]],
    ports: Sequence[Port],
) -> dict[str, Any]:
    """For one with interfaces of its own: itself by name, and the resolver of its first network."""
    own = [[text.partition("/")[0], name] for _, endpoint in pairs for text in endpoint.addresses]
    servers = [at for network, _ in pairs if network.kind in ("bridge", "vxlan") for at in network.gateways]
    published = [
        {"protocol": one.protocol, "host": one.host, "host_port": one.host_port,
         "container_port": one.container_port} for one in ports
    ]  # fmt: skip
    return {
        "path": str(path),
        "hosts": [*own, *map(list, wish.hosts)],
        "nameservers": list(wish.dns) or servers[:2],
        "ports": published,
    }


def zones(networks: Iterable[Network], endpoints: Iterable[Endpoint]) -> list[dict[str, Any]]:
    """For each network on which the host has addresses: the names that are known there.

    And of those who are on others of them, too, where these are listened for.
    """
    served = {one.name: one for one in networks if one.kind in ("bridge", "vxlan")}
    ends = [one for one in endpoints if not one.removing and one.network in served]
    on: dict[tuple[str, str], list[str]] = {}
    for one in ends:
        on.setdefault((one.namespace, one.container), []).append(one.network)
    return [
        {
            "network": name,
            "listen": list(network.gateways),
            "names": _known([one for one in ends if one.network == name]),
            "others": {
                text.partition("/")[0]: [at for other in also for at in served[other].gateways]
                for one in ends
                if one.network == name
                and (also := [other for other in on[one.namespace, one.container] if other != name])
                for text in one.addresses
            },
        }
        for name, network in served.items()
    ]


def _known(endpoints: Sequence[Endpoint]) -> dict[str, list[str]]:
    """By name, short id and alias, in lower case; several containers may share an alias."""
    found: dict[str, list[str]] = {}
    for one in endpoints:
        addresses = [text.partition("/")[0] for text in one.addresses]
        for name in {one.name, one.container[:12], *one.aliases} - {""}:
            found.setdefault(name.lower(), []).extend(addresses)
    return found
