"""What is wanted beside what the kernel has: found, and mended by the functions that made it.

A finding is a dictionary: `object`, `problem`, and whether it was `mended`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from actors.linux import links, netns, nft
from actors.linux.links import Link
from actors.networking.cni import Attachment
from actors.networking.foreign import blocking
from actors.networking.wiring import Wiring, forwarding
from storage.networks import Endpoint, Network

Finding = dict[str, Any]
_BRIDGED = ("bridge", "vxlan")


class Drift:
    """One look at the kernel. In a worker thread."""

    def __init__(
        self,
        wiring: Wiring,
        networks: Sequence[Network],
        endpoints: Sequence[Endpoint],
        path: Callable[[str, str], Path],
    ) -> None:
        self._wiring = wiring
        self._networks = {one.name: one for one in networks}
        self._endpoints = [one for one in endpoints if not one.removing]
        self._path = path

    def look(self, *, mend: bool) -> list[Finding]:
        """Networks, then endpoints, then what nobody wants."""
        there = {one.name: one for one in links.links()}
        found: list[Finding] = []
        for network in self._networks.values():
            problem = _of_network(network, there)
            if problem:
                found.append(_finding(f"network {network.name}", problem, mend))
                if mend:
                    self._wiring.ensure_network(network)
        for endpoint in self._endpoints:
            found += self._endpoint(endpoint, mend=mend)
        return found + self._strays(mend=mend)

    def _endpoint(self, endpoint: Endpoint, *, mend: bool) -> list[Finding]:
        path = self._path(endpoint.namespace, endpoint.container)
        whose = f"container {endpoint.name or endpoint.container[:12]} on network {endpoint.network}"
        if not netns.exists(path):
            return [_finding(whose, "its network namespace is gone; start it again", mended=False)]
        network = self._networks[endpoint.network]
        problem = self._of_endpoint(network, endpoint, path)
        if not problem:
            return []
        if network.kind == "cni":  # only its plugins know how to mend it: by DEL and ADD, at a new start
            return [_finding(whose, f"{problem}; start it again", mended=False)]
        if mend:
            self._wiring.ensure_network(network)
            self._wiring.ensure_endpoint(network, endpoint, path)
        return [_finding(whose, problem, mend)]

    def _of_endpoint(self, network: Network, endpoint: Endpoint, path: Path) -> str:
        if network.kind == "cni":
            return self._wiring.cni.check(Attachment(endpoint, path))
        wanted = self._wiring.inside(network, endpoint)
        inside = links.find(wanted.name, path)
        if inside is None:
            return f"interface {wanted.name} is missing"
        if not inside.up:
            return f"interface {wanted.name} is down"
        missing = set(wanted.addresses) - set(inside.addresses)
        if missing:
            return f"interface {wanted.name} lacks address {', '.join(sorted(missing))}"
        if network.kind not in _BRIDGED:
            return ""
        host, bridge = links.find(self._wiring.host_interface(endpoint)), links.find(network.interface)
        if host is None or bridge is None or host.master != bridge.index:
            return f"interface {wanted.name} is not on bridge {network.interface}"
        return "" if host.up else f"the host's end of {wanted.name} is down"

    def _strays(self, *, mend: bool) -> list[Finding]:
        """Interfaces with our alias that are nobody's."""
        wanted = {self._wiring.host_interface(one) for one in self._endpoints}
        for network in self._networks.values():
            wanted |= {network.interface, f"x{network.interface[1:]}"}
        found = []
        for link in links.owned(f"{self._wiring.alias} "):
            if link.name not in wanted:
                if mend:
                    links.remove(link.name)
                found.append(_finding(f"interface {link.name}", "nobody wants it any more", mend))
        return found

    def others(self, table: str) -> list[Finding]:
        """Rules of others that stand in the way: only found, since they are not ours to change."""
        bridges = [one.interface for one in self._networks.values() if one.kind in _BRIDGED]
        found = blocking(nft.everything(), table, bridges)
        return [_finding(what, problem, mended=False) for what, problem in found]

    @staticmethod
    def rules(table: str, text: str, *, mend: bool) -> list[Finding]:
        """Whether the table is as `text` makes it: loaded under another name, it must read the same."""
        probe = f"{table}_probe"
        try:
            nft.load(text.replace(table, probe))
            wanted = nft.table(probe).replace(probe, table)
        finally:
            nft.load(f"table inet {probe}\ndelete table inet {probe}\n")
        if nft.table(table) == wanted:
            return []
        if mend:
            nft.load(text)
        return [_finding(f"table inet {table}", "its rules are not those that are wanted", mend)]


def _of_network(network: Network, there: dict[str, Link]) -> str:
    """What is wrong with it; empty for nothing."""
    if network.kind == "macvlan":
        return "" if network.interface in there else f"parent interface {network.interface} is missing"
    if network.kind not in _BRIDGED:
        return ""
    bridge = there.get(network.interface)
    if bridge is None:
        return f"bridge {network.interface} is missing"
    if not bridge.up:
        return f"bridge {network.interface} is down"
    held = {address.partition("/")[0] for address in bridge.addresses}
    missing = set(network.gateways) - held
    if missing:
        return f"bridge {network.interface} lacks address {', '.join(sorted(missing))}"
    if network.kind == "vxlan" and f"x{network.interface[1:]}" not in there:
        return f"tunnel of bridge {network.interface} is missing"
    for path, value in forwarding(network):
        if path.exists() and path.read_text().strip() != value:
            return f"{path} is not {value}"
    return ""


def _finding(what: str, problem: str, mended: bool) -> Finding:  # a record's fields in order
    return {"object": what, "problem": problem, "mended": mended}
