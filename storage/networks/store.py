"""The network database. Every method is durable when it returns, unless inside `transaction()`."""

import contextlib
import ipaddress
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from storage.database import Database
from storage.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from storage.names import check_identifier, decode, encode, encode_labels
from storage.networks.addresses import next_free
from storage.networks.records import Endpoint, Network, Port
from storage.networks.schema import MIGRATIONS

_SHOWN = 3  # names in an error

# Left to itself, SQLite takes the primary key, of which it knows the network only, and looks at all of that.
_ENDPOINTS: Final = """SELECT e.*, (
        SELECT json_group_array(a.address || '/' || a.prefix)
        FROM addresses a INDEXED BY addresses_by_endpoint
        WHERE a.network = e.network AND a.namespace = e.namespace AND a.container = e.container)
    FROM endpoints e"""
_PORTS: Final = "SELECT * FROM ports"


class NetworkStore:
    """The file at `path`; `clock` gives nanoseconds since the epoch.

    Raises:
        FailedPreconditionError: the file was written by a newer version.
        UnavailableError: the file cannot be opened.
        StorageError: the file is damaged.
    """

    def __init__(self, path: Path, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._database = Database(path, MIGRATIONS)
        self._clock = clock

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """Group writes in one commit."""
        return self._database.transaction()

    def backup(self, target: Path) -> None:
        """Write a consistent, durable copy to `target` while in use."""
        self._database.backup(target)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # Networks

    def create(self, network: Network) -> Network:
        """Record a network.

        Raises:
            AlreadyExistsError: there is one of that name.
            InvalidArgumentError: the name or a label is malformed.
        """
        check_identifier("network", network.name)
        spec = {
            "subnets": network.subnets, "gateways": network.gateways, "ranges": network.ranges,
            "mtu": network.mtu, "internal": network.internal, "options": dict(network.options),
        }  # fmt: skip
        row = (network.name, network.kind, network.interface, encode(spec),
               encode_labels(network.labels), self._clock())  # fmt: skip
        with self._database.transaction():
            if self._database.one("SELECT 1 FROM networks WHERE name = ?", (network.name,)):
                raise AlreadyExistsError(f'network "{network.name}" already exists')
            self._database.execute("INSERT INTO networks VALUES (?, ?, ?, ?, ?, ?)", row)
        return self.get(network.name)

    def get(self, name: str) -> Network:
        """The network of that name. Raises NotFoundError."""
        row = self._database.one("SELECT * FROM networks WHERE name = ?", (name,))
        if row is None:
            raise NotFoundError(f'network "{name}" not found; see actr network ls')
        return _network(row)

    def networks(self) -> tuple[Network, ...]:
        """All of them, by name."""
        return tuple(map(_network, self._database.rows("SELECT * FROM networks ORDER BY name")))

    def delete(self, name: str) -> None:
        """Forget a network.

        Raises:
            NotFoundError: there is none.
            FailedPreconditionError: a container is on it; the text names some.
        """
        with self._database.transaction():
            self.refuse_removal(name)
            self._database.execute("DELETE FROM networks WHERE name = ?", (name,))

    def refuse_removal(self, name: str) -> None:
        """Raise what `delete` would raise."""
        self.get(name)
        ends = self.endpoints(network=name)
        users = [one for one in ends if not one.removing]
        if users:
            raise FailedPreconditionError(
                f'network "{name}" is used by {_shown(users)}; disconnect or remove them first'
            )
        if ends:
            raise FailedPreconditionError(
                f'network "{name}" has what {_shown(ends)} had of it, which is still to be removed: '
                "actr network prune tries that, actr network check says why"
            )

    # Endpoints

    def connect(self, wanted: Endpoint) -> Endpoint:
        """Record an endpoint and give it addresses: those that `wanted` has, else the next free ones.

        Again, it is the endpoint that there is, by the name that its container has by now.

        Raises:
            NotFoundError: no such network.
            AlreadyExistsError: an address is taken.
            FailedPreconditionError: the range is used up, or the endpoint is just being removed.
            InvalidArgumentError: an address is not in any of the subnets.
        """
        with self._database.transaction():
            network = self.get(wanted.network)
            found = self.endpoint(*wanted.key)
            if found is not None:
                if found.removing:
                    raise FailedPreconditionError(
                        f"container {found.name or found.container[:12]} is being disconnected from network "
                        f"{found.network}; try again"
                    )
                if wanted.name not in ("", found.name):
                    self.rename(wanted.namespace, wanted.container, wanted.name)
                return replace(found, name=wanted.name or found.name)
            number = self._free_number(wanted.namespace, wanted.container)
            row = (*wanted.key, number, wanted.mac, wanted.name, encode(wanted.aliases), wanted.rate)
            self._database.execute("INSERT INTO endpoints VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)", row)
            for address in self._choose(network, wanted):
                self._database.execute(
                    "INSERT INTO addresses VALUES (?, ?, ?, ?, ?)",
                    (network.name, str(address.ip), address.network.prefixlen, *wanted.key[1:]),
                )
        found = self.endpoint(*wanted.key)
        if found is None:
            raise NotFoundError("an endpoint that was just recorded is gone")
        return found

    def _free_number(self, namespace: str, container: str) -> int:
        taken = {one.number for one in self.endpoints(namespace=namespace, container=container)}
        return next(number for number in range(len(taken) + 1) if number not in taken)

    def _choose(
        self, network: Network, wanted: Endpoint
    ) -> list[ipaddress.IPv4Interface | ipaddress.IPv6Interface]:
        asked = [ipaddress.ip_address(text.partition("/")[0]) for text in wanted.addresses]
        chosen = []
        for index, subnet in enumerate(map(ipaddress.ip_network, network.subnets)):
            mine = next((one for one in asked if one in subnet), None)
            gateway = network.gateways[index] if index < len(network.gateways) else ""
            if mine is not None:
                asked.remove(mine)
                self._refuse_taken(network, subnet, mine, gateway)
            else:
                mine = self._next(network, index, gateway)
            chosen.append(ipaddress.ip_interface(f"{mine}/{subnet.prefixlen}"))
        if asked:
            raise FailedPreconditionError(
                f"address {asked[0]} is not in network {network.name} ({', '.join(network.subnets)})"
            )
        return chosen

    def _refuse_taken(self, network: Network, subnet: Any, address: Any, gateway: str) -> None:
        owner = self._database.one(
            "SELECT container FROM addresses WHERE network = ? AND address = ?", (network.name, str(address))
        )
        if owner is not None:
            raise AlreadyExistsError(
                f"address {address} in network {network.name} is taken by container {owner[0][:12]}"
            )
        if str(address) == gateway or address in (subnet.network_address, subnet.broadcast_address):
            raise AlreadyExistsError(f"address {address} in network {network.name} is not for containers")

    def _next(self, network: Network, index: int, gateway: str) -> Any:
        subnet = network.subnets[index]
        within = network.ranges[index] if index < len(network.ranges) else subnet
        last = self._database.one(
            "SELECT address FROM last_addresses WHERE network = ? AND subnet = ?", (network.name, subnet)
        )
        is_taken = partial(self._is_taken, network.name)
        found = next_free(subnet, within, gateway, last[0] if last else "", is_taken)
        if found is None:
            taken = self._database.rows("SELECT 1 FROM addresses WHERE network = ?", (network.name,))
            raise FailedPreconditionError(
                f"network {network.name} has no free address left in {within} ({len(taken)} are taken); "
                "remove containers or make a larger network"
            )
        self._database.execute(
            "INSERT OR REPLACE INTO last_addresses VALUES (?, ?, ?)", (network.name, subnet, str(found))
        )
        return found

    def _is_taken(self, network: str, address: str) -> bool:
        taken = "SELECT 1 FROM addresses WHERE network = ? AND address = ?"
        return self._database.one(taken, (network, address)) is not None

    def endpoint(self, network: str, namespace: str, container: str) -> Endpoint | None:
        """One container's end in one network, or None."""
        found = self.endpoints(network=network, namespace=namespace, container=container)
        return found[0] if found else None

    def endpoints(
        self, *, network: str | None = None, namespace: str | None = None, container: str | None = None
    ) -> tuple[Endpoint, ...]:
        """Those that match, each container's in the order of its interfaces."""
        where, values = _matching(network=network, namespace=namespace, container=container)
        rows = self._database.rows(f"{_ENDPOINTS} {where} ORDER BY namespace, container, number", values)
        return tuple(map(_endpoint, rows))

    def learned(self, endpoint: Endpoint, addresses: Sequence[str]) -> Endpoint:
        """Record addresses that somebody else has chosen (a plugin); the endpoint with them."""
        with self._database.transaction():
            for address in map(ipaddress.ip_interface, addresses):
                self._database.execute(
                    "INSERT OR IGNORE INTO addresses VALUES (?, ?, ?, ?, ?)",
                    (endpoint.network, str(address.ip), address.network.prefixlen, *endpoint.key[1:]),
                )
        return self.endpoint(*endpoint.key) or endpoint

    def rename(self, namespace: str, container: str, name: str) -> int:
        """Give a container's ends its new name; how many had another."""
        rename = "UPDATE endpoints SET name = ? WHERE namespace = ? AND container = ? AND name != ?"
        return self._database.execute(rename, (name, namespace, container, name)).rowcount

    def removing(self, endpoint: Endpoint) -> None:
        """From now on it is to go; its addresses stay taken until `forget`."""
        self._database.execute(
            "UPDATE endpoints SET removing = 1 WHERE network = ? AND namespace = ? AND container = ?",
            endpoint.key,
        )

    def forget(self, endpoint: Endpoint) -> None:
        """Its interface is gone: free what it held. Again is no error."""
        self._database.execute(
            "DELETE FROM endpoints WHERE network = ? AND namespace = ? AND container = ?", endpoint.key
        )

    # Ports

    def publish(self, port: Port) -> None:
        """Record a port; one that this container has already is no error.

        Raises:
            AlreadyExistsError: it is another one's, on that address or on all.
        """
        with self._database.transaction():
            for other in self._ports(protocol=port.protocol, host_port=port.host_port):
                if other == port:
                    return
                if not other.host or not port.host or other.host == port.host:
                    raise AlreadyExistsError(
                        f"port {port.host_port}/{port.protocol} of the host is published by container "
                        f"{other.container[:12]} already; choose another one"
                    )
            self._database.execute(
                "INSERT INTO ports VALUES (?, ?, ?, ?, ?, ?)",
                (
                    port.protocol,
                    port.host,
                    port.host_port,
                    port.namespace,
                    port.container,
                    port.container_port,
                ),
            )

    def ports(self, *, namespace: str | None = None, container: str | None = None) -> tuple[Port, ...]:
        """Those of one container, or all."""
        return self._ports(namespace=namespace, container=container)

    def _ports(self, **wanted: str | int | None) -> tuple[Port, ...]:
        where, values = _matching(**wanted)
        order = "ORDER BY container_port, protocol, host, host_port"
        return tuple(Port(*row) for row in self._database.rows(f"{_PORTS} {where} {order}", values))

    def unpublish(self, namespace: str, container: str) -> None:
        """Free all ports of a container."""
        self._database.execute(
            "DELETE FROM ports WHERE namespace = ? AND container = ?", (namespace, container)
        )


def _shown(ends: Sequence[Endpoint]) -> str:
    """The containers of some."""
    names = [one.name or one.container[:12] for one in ends]
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _matching(**wanted: str | int | None) -> tuple[str, tuple[str | int, ...]]:
    """A condition on the columns for which a value is wanted, and these values.

    One that says `? IS NULL OR column = ?` for each makes SQLite look at every row: it plans before it knows.
    """
    given = {column: value for column, value in wanted.items() if value is not None}
    return (f"WHERE {' AND '.join(f'{column} = ?' for column in given)}" if given else ""), tuple(
        given.values()
    )


def _network(row: tuple[Any, ...]) -> Network:
    name, kind, interface, spec, labels, created_at = row
    said = decode(spec)
    return Network(
        name, kind, interface, tuple(said["subnets"]), tuple(said["gateways"]), tuple(said["ranges"]),
        mtu=said["mtu"], internal=said["internal"], options=said["options"], labels=decode(labels),
        created_at=created_at,
    )  # fmt: skip


def _endpoint(row: tuple[Any, ...]) -> Endpoint:
    network, namespace, container, number, mac, name, aliases, rate, removing, addresses = row
    found = sorted(decode(addresses), key=lambda text: (":" in text, text))
    return Endpoint(
        network, namespace, container, number, tuple(found), mac, name, tuple(decode(aliases)), rate,
        bool(removing),
    )  # fmt: skip
