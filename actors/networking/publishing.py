"""Published ports: which are wanted, which host ports they get, and who is behind them. Pure but for `Held`.

A published port is also bound, not listened on, in the host: another program that wants it is told so by
the kernel, and so are we. The rules see a packet before any socket does.
"""

import contextlib
import errno
import ipaddress
import random
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from actors.networking.rules import Published
from storage.errors import FailedPreconditionError, InvalidArgumentError
from storage.networks import Endpoint, Network, Port

PROTOCOLS: Final = ("tcp", "udp")
FIRST_RANDOM, LAST_RANDOM = 49153, 65535  # RFC 6335, section 6: dynamic ports
TRIES: Final = 200
MOST: Final = 4096  # ports of one container
_TYPES: Final = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_IN_USE: Final = frozenset({errno.EADDRINUSE, errno.EACCES})


def check(port: Port) -> None:
    """Refuse what cannot be published. Raises InvalidArgumentError."""
    if port.protocol not in PROTOCOLS:
        raise InvalidArgumentError(f"protocol {port.protocol!a} is neither tcp nor udp")
    if not 0 < port.container_port <= 65535 or not 0 <= port.host_port <= 65535:
        raise InvalidArgumentError(f"port {port.host_port}:{port.container_port} is not from 1 to 65535")
    if port.host:
        try:
            ipaddress.ip_address(port.host)
        except ValueError:
            raise InvalidArgumentError(f"host address {port.host[:60]!a} of a port is not valid") from None


def behind(
    ports: Iterable[Port], endpoints: Sequence[Endpoint], networks: Iterable[Network]
) -> list[Published]:
    """For each port the addresses behind it: those on the first network that lets them be reached."""
    open_ = {one.name for one in networks if one.kind in ("bridge", "vxlan") and not one.internal}
    reached: dict[tuple[str, str], Endpoint] = {}
    for endpoint in endpoints:
        if endpoint.network in open_ and not endpoint.removing:
            reached.setdefault((endpoint.namespace, endpoint.container), endpoint)
    found = []
    for port in ports:
        target = reached.get((port.namespace, port.container))
        addresses = [text.partition("/")[0] for text in target.addresses] if target else []
        wanted = [one for one in addresses if not port.host or (":" in one) == (":" in port.host)]
        found += [
            Published(port.protocol, port.host, port.host_port, one, port.container_port) for one in wanted
        ]
    return found


class Held:
    """The sockets that keep published ports ours."""

    def __init__(self) -> None:
        self._sockets: dict[tuple[str, str, int], list[socket.socket]] = {}

    @contextlib.contextmanager
    def all_or_none(self) -> Iterator[None]:
        """What is taken in this block is let go of if it fails, be it at its end. What was ours stays."""
        before = set(self._sockets)
        try:
            yield
        except BaseException:
            for address in self._sockets.keys() - before:
                self._close(address)
            raise

    def take(self, port: Port) -> None:
        """Bind it. Again is no error.

        Raises:
            FailedPreconditionError: another program has it, or the address is not this host's.
        """
        if port.address not in self._sockets:
            self._sockets[port.address] = _bound(port)

    def free(self, port: Port) -> None:
        """Let go of it; again is no error."""
        self._close(port.address)

    def _close(self, address: tuple[str, str, int]) -> None:
        for one in self._sockets.pop(address, ()):
            one.close()

    def any(self, port: Port, taken: Iterable[Port]) -> int:
        """A free host port for one that did not ask for a certain one. Raises FailedPreconditionError."""
        used = {one.host_port for one in taken if one.protocol == port.protocol}
        for number in random.sample(range(FIRST_RANDOM, LAST_RANDOM + 1), TRIES):
            if number in used:
                continue
            with contextlib.suppress(FailedPreconditionError):
                self.take(Port(port.protocol, port.host, number, "", "", port.container_port))
                return number
        raise FailedPreconditionError("no free port found on this host; name one with -p HOST:CONTAINER")


def _bound(port: Port) -> list[socket.socket]:
    made: list[socket.socket] = []
    try:
        for family, host in _families(port.host):
            one = socket.socket(family, _TYPES[port.protocol] | socket.SOCK_CLOEXEC)
            made.append(one)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((host, port.host_port))
    except OSError as error:
        for one in made:
            one.close()
        where = f"{port.host or '*'}:{port.host_port}/{port.protocol}"
        if error.errno in _IN_USE:
            raise FailedPreconditionError(
                f"port {where} is in use on this host; choose another one"
            ) from error
        raise FailedPreconditionError(f"port {where} cannot be published: {error.strerror}") from error
    return made


def _families(host: str) -> list[tuple[socket.AddressFamily, str]]:
    if host:
        return [(socket.AF_INET6 if ":" in host else socket.AF_INET, host)]
    both = [(socket.AF_INET, "0.0.0.0")]  # noqa: S104  # bound, not listened on
    return [*both, (socket.AF_INET6, "::")] if socket.has_dualstack_ipv6() else both
