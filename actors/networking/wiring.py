"""What is done in the kernel for a network and for an endpoint. Each can be done again.

An interface on the host is named after what it is for, so nobody has to remember its name, and has an alias
that begins with the daemon's scope, so what nobody wants any more can be found.
"""

from collections.abc import Sequence
from pathlib import Path

from actors.linux import links, netns
from actors.linux.links import Inside, Vxlan
from actors.networking.cni import Attachment, Cni
from actors.networking.plan import interface_name
from storage.networks import Endpoint, Network, Port

_SYSCTL = Path("/proc/sys/net")


class Wiring:
    """Of one daemon.

    Attributes:
        scope: tells its interfaces from those of another daemon on this host.
    """

    def __init__(self, scope: str, cni: Cni) -> None:
        self.scope = scope
        self.cni = cni
        self.alias = f"actord {scope}"

    def host_interface(self, endpoint: Endpoint) -> str:
        """The host's end of an endpoint's pair."""
        return interface_name("v", self.scope, *endpoint.key)

    def ensure_network(self, network: Network) -> None:
        """Its bridge, the tunnel of one that spans hosts, and the forwarding of packets.

        Raises:
            OSError: as netlink has it.
        """
        if network.kind not in ("bridge", "vxlan"):
            return
        prefixes = (subnet.partition("/")[2] for subnet in network.subnets)
        addresses = [f"{at}/{prefix}" for at, prefix in zip(network.gateways, prefixes, strict=True)]
        vxlan = None
        if network.kind == "vxlan":
            said = network.options
            vxlan = Vxlan(
                said["vni"], said.get("port", 4789), said.get("local", ""), tuple(said.get("remotes", ()))
            )
        links.ensure_bridge(
            network.interface, f"{self.alias} {network.name}", addresses, mtu=network.mtu, vxlan=vxlan
        )
        for path, value in forwarding(network):
            if path.exists() and path.read_text().strip() != value:
                path.write_text(value)

    def remove_network(self, network: Network) -> None:
        """Its interfaces. What is gone is fine."""
        if network.kind in ("bridge", "vxlan"):
            links.remove(f"x{network.interface[1:]}")
            links.remove(network.interface)

    def ensure_endpoint(
        self, network: Network, endpoint: Endpoint, namespace: Path, ports: Sequence[Port] = ()
    ) -> tuple[str, ...]:
        """Its interface in the container's namespace, furnished; gives its addresses.

        Raises:
            OSError: as netlink has it.
            FailedPreconditionError: a plugin of a cni network refused.
        """
        if network.kind == "cni":
            return self.cni.add(network, Attachment(endpoint, namespace, ports))
        inside = self.inside(network, endpoint)
        if network.kind == "macvlan":
            mode = network.options.get("mode", "bridge")
            links.ensure_macvlan(network.interface, mode, namespace, inside)
        else:
            alias = f"{self.alias} {network.name} {endpoint.namespace}/{endpoint.container}"
            links.ensure_pair(self.host_interface(endpoint), alias, network.interface, namespace, inside)
        return endpoint.addresses

    @staticmethod
    def inside(network: Network, endpoint: Endpoint) -> Inside:
        """How its interface is to look."""
        first = endpoint.number == 0 and not network.internal
        return Inside(
            name=f"eth{endpoint.number}",
            addresses=endpoint.addresses,
            gateways=network.gateways if first else (),
            # Neighbours know an address by its MAC: whoever has it next, or after a restart, has the same.
            mac=endpoint.mac or (links.steady_mac(endpoint.addresses[0]) if endpoint.addresses else ""),
            mtu=network.mtu,
            rate=endpoint.rate,
        )

    def remove_endpoint(self, network: Network, endpoint: Endpoint, namespace: Path) -> None:
        """Its interface, wherever it is. What is gone is fine.

        Raises:
            OSError: as netlink has it.
            FailedPreconditionError: a plugin of a cni network refused; it has to be asked again.
        """
        if network.kind == "cni":
            self.cni.delete(Attachment(endpoint, namespace))
            return
        links.remove(self.host_interface(endpoint))
        if netns.exists(namespace):  # killed between its two steps, its removal leaves a plain file
            links.remove(f"eth{endpoint.number}", namespace)


def forwarding(network: Network) -> list[tuple[Path, str]]:
    """Kernel settings that a network needs, as file and value: reported by `network.check`.

    Without `route_localnet` nothing that comes from the host's loopback could reach a published port; the
    rules see to it that nothing else makes use of it.
    """
    wanted = [(_SYSCTL / "ipv4/conf" / network.interface / "route_localnet", "1")]
    if not network.internal:
        if any(":" not in subnet for subnet in network.subnets):
            wanted.append((_SYSCTL / "ipv4/ip_forward", "1"))
        if any(":" in subnet for subnet in network.subnets):
            wanted.append((_SYSCTL / "ipv6/conf/all/forwarding", "1"))
    return wanted
