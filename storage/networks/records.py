"""The records of the network store: values, never live objects."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Network:
    """A network that containers can be on.

    Attributes:
        kind: bridge, macvlan, vxlan or cni.
        interface: the host's interface that belongs to it: the bridge, or what a macvlan stands on.
        subnets: at most one of IPv4 and one of IPv6, as `10.88.0.0/24`.
        gateways: the host's own address in each subnet, in the same order; empty for a macvlan without one.
        ranges: where addresses are given out, in the same order; the whole subnet if not said.
        mtu: bytes, 0 for the kernel's choice.
        internal: nothing gets out, and nothing in.
        options: what only one kind has: `vni`, `remotes`, `local`, `port` (vxlan), `mode` (macvlan),
            `config` (cni).
    """

    name: str
    kind: str
    interface: str
    subnets: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    mtu: int = 0
    internal: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    labels: Labels = field(default_factory=dict)
    created_at: int = 0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One container on one network.

    Attributes:
        number: its interface in the container is `eth<number>`.
        addresses: with their prefix length, as `10.88.0.2/24`.
        aliases: further names under which others on this network find it.
        rate: bytes per second in each direction, 0 for no limit.
        removing: it is to go; what it holds is freed once its interface is gone.
    """

    network: str
    namespace: str
    container: str
    number: int
    addresses: tuple[str, ...] = ()
    mac: str = ""
    name: str = ""
    aliases: tuple[str, ...] = ()
    rate: int = 0
    removing: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """What names it."""
        return self.network, self.namespace, self.container


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the host that leads to one of a container; an empty `host` means all of its addresses."""

    protocol: str
    host: str
    host_port: int
    namespace: str
    container: str
    container_port: int

    @property
    def address(self) -> tuple[str, str, int]:
        """Where on the host: no two have the same."""
        return self.protocol, self.host, self.host_port
