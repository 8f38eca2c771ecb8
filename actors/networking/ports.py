"""A container's published ports: on record, and bound in this host."""

from collections.abc import Iterable

from actors.networking import wishes
from actors.networking.publishing import Held
from storage.networks import NetworkStore, Port


def publish(
    store: NetworkStore, held: Held, namespace: str, container: str, wanted: Iterable[wishes.PortWish]
) -> list[Port]:
    """Record the ports, and bind them; a port that was given at random before stays the same.

    Raises StorageError: somebody else has one of them. Some may be recorded and bound by then.
    """
    there = list(store.ports(namespace=namespace, container=container))
    found = []
    for one in wanted:
        port = wishes.port(namespace, container, one)
        if not port.host_port:
            known = next((old for old in there if _same_but_host_port(old, port)), None)
            if known is not None:
                there.remove(known)
            number = known.host_port if known else held.any(port, store.ports())
            port = Port(port.protocol, port.host, number, namespace, container, port.container_port)
        store.publish(port)  # first: another container may have it
        held.take(port)
        found.append(port)
    return found


def _same_but_host_port(one: Port, other: Port) -> bool:
    return (one.protocol, one.host, one.container_port) == (other.protocol, other.host, other.container_port)
