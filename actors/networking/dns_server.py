"""A resolver for containers: UDP and TCP at addresses of the host, in a thread of its own with one selector.

What is no container's name is handed on, byte for byte, to the host's resolvers, each question through a
socket of its own (a new source port makes forged answers hard, RFC 5452), at most so many at once.
"""

import contextlib
import errno
import ipaddress
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from actors.networking.dns_answers import MOST, Names, answer, failed

PORT: Final = 53
FORWARD_LIMIT: Final = 5.0  # seconds until somebody else has to have answered
MOST_FORWARDED: Final = 256
MOST_CONNECTIONS: Final = 64
CONNECTION_LIMIT: Final = 10.0  # seconds
RETRY: Final = 1.0  # seconds until an address that could not be had is tried again
HOST_FILE: Final = Path("/etc/resolv.conf")
MOST_SERVERS: Final = 3  # resolv.conf(5)

Reply = Callable[[bytes], None]
Server = tuple[str, int]
Others = dict[str, list[str]]


@dataclass(slots=True)
class _Timed:
    """A socket that must not stay open for ever."""

    socket: socket.socket
    until: float
    expired: Callable[[], None]


@dataclass(slots=True)
class _Connection:
    """A client over TCP: what has come of a question, its length first."""

    socket: socket.socket
    listen: str
    client: str
    received: bytearray = field(default_factory=bytearray)


class DnsServer:
    """Serves zones until told of others. `listen` addresses map to the names that are known there."""

    def __init__(
        self,
        log: logging.Logger,
        upstream: Callable[[], list[Server]] | None = None,
        port: int = PORT,
        crashed: Callable[[BaseException], None] | None = None,
    ) -> None:
        """`crashed` is told, in the thread, of what ends it before `stop`: nobody is served any more."""
        self._log = log
        self._crashed = crashed
        self._port = port
        self._upstream = upstream or host_servers
        self._wanted: tuple[dict[str, Names], Others] = {}, {}
        self._zones: dict[str, Names] = {}
        self._others: Others = {}
        self._sockets: dict[str, list[socket.socket]] = {}
        self._timed: dict[int, _Timed] = {}
        self._missing = False
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._awake)
        self._thread = threading.Thread(target=self._served, name="dns", daemon=True)
        self._running = True

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def serve(self, zones: dict[str, Names], others: Others | None = None) -> None:
        """From now on these, and no others. From any thread.

        `others`: who may be told the names of which further zones, by their address.
        """
        self._wanted = zones, others or {}
        self._wake.send(b"z")

    def stop(self) -> None:
        """Close everything and end the thread."""
        self._running = False
        with contextlib.suppress(OSError):  # its thread has ended already, and closed this
            self._wake.send(b"s")
        self._thread.join()

    def _served(self) -> None:
        try:
            self._run()
        except Exception as error:
            if self._crashed is None:
                raise
            self._crashed(error)
        finally:
            self._close()

    def _run(self) -> None:
        while self._running:
            for key, _ in self._selector.select(self._timeout()):
                key.data()
            self._expire()
            if self._missing:
                self._open()

    def _close(self) -> None:
        for one in [*self._selector.get_map().values()]:
            if isinstance(one.fileobj, socket.socket):
                one.fileobj.close()
        self._wake.close()
        self._selector.close()

    def _timeout(self) -> float | None:
        ends = [one.until for one in self._timed.values()]
        wait = max(0.0, min(ends) - time.monotonic()) if ends else None
        return min(RETRY, RETRY if wait is None else wait) if self._missing else wait

    def _awake(self) -> None:
        self._woken.recv(4096)
        self._zones, self._others = self._wanted
        for gone in self._sockets.keys() - self._zones.keys():
            for one in self._sockets.pop(gone):
                self._forget(one)
        self._open()

    def _open(self) -> None:
        """Listen where we do not yet. A bridge that is just being made has its address in a moment."""
        self._missing = False
        for address in self._zones.keys() - self._sockets.keys():
            try:
                self._sockets[address] = self._listen(address)
            except OSError as error:
                self._missing = True
                self._log.debug("cannot listen at %s: %s", address, error.strerror)

    def _listen(self, address: str) -> list[socket.socket]:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with contextlib.ExitStack() as undo:
            datagrams = undo.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            stream = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for one in (datagrams, stream):
                one.setblocking(False)
                one.bind((address, self._port))
            stream.listen(16)
            undo.pop_all()
        self._selector.register(datagrams, selectors.EVENT_READ, lambda: self._datagram(address, datagrams))
        self._selector.register(stream, selectors.EVENT_READ, lambda: self._accept(address, stream))
        return [datagrams, stream]

    def _datagram(self, address: str, at: socket.socket) -> None:
        with contextlib.suppress(OSError):
            wire, client = at.recvfrom(MOST)

            def reply(said: bytes) -> None:
                with contextlib.suppress(OSError):
                    at.sendto(said, client)

            self._asked(address, client[0], wire, reply, tcp=False)

    def _asked(self, address: str, client: str, wire: bytes, reply: Reply, *, tcp: bool) -> None:
        """A question that finds a mistake of ours ends nothing: any container could ask it time and again."""
        try:
            said = self._known(address, client, wire, tcp=tcp)
        except Exception:  # noqa: BLE001  # see above
            self._log.exception("question of %s", client)
            said = failed(wire)
        if said is None:
            self._forward(wire, reply, self._upstream(), tcp=tcp)
        elif said:
            reply(said)

    def _known(self, address: str, client: str, wire: bytes, *, tcp: bool) -> bytes | None:
        """At the address of one network; the client may be on others, which it may know nothing of."""
        for zone in (address, *self._others.get(client, ())):
            said = answer(wire, self._zones.get(zone, {}), tcp=tcp)
            if said is not None:
                return said
        return None

    # Somebody else's names

    def _forward(self, wire: bytes, reply: Reply, servers: list[Server], *, tcp: bool) -> None:
        """Ask the first of these; if it does not answer in its part of the time, the next."""
        if not servers or len(self._timed) >= MOST_FORWARDED:
            reply(failed(wire))
            return
        server, *others = servers
        asking = _asked(server, wire, tcp=tcp)
        if asking is None:
            self._forward(wire, reply, others, tcp=tcp)
            return

        def next_one() -> None:
            self._forget(asking)
            self._forward(wire, reply, others, tcp=tcp)

        def hear(said: bytes) -> None:
            if said[:2] == wire[:2]:
                self._forget(asking)
                reply(said)

        until = time.monotonic() + FORWARD_LIMIT / MOST_SERVERS
        self._timed[asking.fileno()] = _Timed(asking, until, next_one)
        if tcp:
            self._ask_stream(asking, wire, hear, next_one)
        else:
            self._selector.register(
                asking, selectors.EVENT_READ, lambda: self._hear_datagram(asking, hear, next_one)
            )

    @staticmethod
    def _hear_datagram(asking: socket.socket, hear: Reply, failing: Callable[[], None]) -> None:
        try:
            said = asking.recv(65535)
        except OSError:  # nobody listens there (ECONNREFUSED)
            failing()
        else:
            hear(said)

    def _ask_stream(
        self, asking: socket.socket, wire: bytes, hear: Reply, failing: Callable[[], None]
    ) -> None:
        """Once it is connected the question goes, which fits any buffer; then the answer comes in pieces."""
        received = bytearray()

        def connected() -> None:
            try:
                asking.send(len(wire).to_bytes(2, "big") + wire)
            except OSError:  # nobody listens there
                failing()
            else:
                self._selector.modify(asking, selectors.EVENT_READ, more)

        def more() -> None:
            try:
                piece = asking.recv(65537)
            except OSError:
                piece = b""
            received.extend(piece)
            size = int.from_bytes(received[:2], "big")
            if not piece:
                failing()
            elif len(received) >= max(2, size + 2):
                hear(bytes(received[2 : size + 2]))

        self._selector.register(asking, selectors.EVENT_WRITE, connected)

    # Over TCP

    def _accept(self, address: str, at: socket.socket) -> None:
        with contextlib.suppress(OSError):
            client, peer = at.accept()
            if len(self._timed) >= MOST_FORWARDED + MOST_CONNECTIONS:
                client.close()
                return
            client.setblocking(False)
            connection = _Connection(client, address, peer[0])
            self._selector.register(client, selectors.EVENT_READ, lambda: self._received(connection))
            until = time.monotonic() + CONNECTION_LIMIT
            self._timed[client.fileno()] = _Timed(client, until, lambda: self._forget(client))

    def _received(self, connection: _Connection) -> None:
        try:
            piece = connection.socket.recv(MOST)
        except OSError:
            piece = b""
        connection.received += piece
        if not piece or len(connection.received) > MOST + 2:
            self._forget(connection.socket)
            return
        size = int.from_bytes(connection.received[:2], "big")
        if len(connection.received) < 2 or len(connection.received) < size + 2:
            return
        wire = bytes(connection.received[2 : size + 2])
        del connection.received[: size + 2]

        def reply(said: bytes) -> None:
            with contextlib.suppress(OSError):
                connection.socket.send(len(said).to_bytes(2, "big") + said)

        self._asked(connection.listen, connection.client, wire, reply, tcp=True)

    # What ends

    def _forget(self, one: socket.socket) -> None:
        self._timed.pop(one.fileno(), None)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(one)
        one.close()

    def _expire(self) -> None:
        now = time.monotonic()
        for one in [*self._timed.values()]:
            if one.until <= now:
                one.expired()


def _asked(server: Server, wire: bytes, *, tcp: bool) -> socket.socket | None:
    """A socket at which an answer comes; by TCP it is still to connect. None: the kernel refuses at once."""
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    try:
        asking = socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    except OSError:  # no descriptor is left, or the kernel has no IPv6
        return None
    asking.setblocking(False)
    try:
        if asking.connect_ex(server) in (0, errno.EINPROGRESS):
            if not tcp:
                asking.send(wire)
            return asking
    except OSError:  # as below
        pass
    asking.close()
    return None


def host_servers(path: Path = HOST_FILE) -> list[Server]:
    """The name servers of this host (resolv.conf(5)), read anew each time: a laptop's change."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            lines = file.read(1 << 16).splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    found = [word[1] for word in words if len(word) > 1 and word[0] == "nameserver" and _is_address(word[1])]
    return [(address, PORT) for address in found[:MOST_SERVERS]]


def _is_address(text: str) -> bool:
    """A name would be looked up while everybody waits, by the very server that it names."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def zones_of(found: Iterable[dict[str, object]]) -> dict[str, Names]:
    """What `network.names` answered, by the address to listen at."""
    zones: dict[str, Names] = {}
    for zone in found:
        names = zone["names"]
        listen = zone["listen"]
        if isinstance(names, dict) and isinstance(listen, list):
            zones |= dict.fromkeys(listen, names)
    return zones


def others_of(found: Iterable[dict[str, object]]) -> Others:
    """As `zones_of`: by a client's address, where else names are known for it."""
    others: Others = {}
    for zone in found:
        also = zone.get("others")  # an older network actor does not say
        if isinstance(also, dict):
            others |= also
    return others
