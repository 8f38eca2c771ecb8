"""The router's door for this host: a Unix socket, with a connection for each actor and client.

One thread, that of the router: what a peer has sent is read when the kernel says so, and what is for another
is written to its connection in the same turn. Only what the kernel does not take waits, in the queue of that
peer. A turn is short, and each connection has a share of it: who floods waits for his next one, in the
kernel's buffer and then in his own process. Connections that say nothing have four seconds, and there are
only so many; with no descriptor left, who comes has to wait. Identities are as with ZeroMQ's ROUTER and
ROUTER_HANDOVER: a newer connection takes over from an older one of the same name.
"""

import contextlib
import itertools
import logging
import os
import re
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from transport.doors import FullError, UnreachableError
from transport.envelope import Envelope
from transport.errors import ProtocolError
from transport.peer import GENERATED, GREETING, Peer
from transport.zmtp import received

HANDSHAKE: Final = 4.0  # seconds for a peer that only connects
MOST_HALF_OPEN: Final = 4096  # connections without a handshake: one more, and the oldest is closed
BACKLOG: Final = 4096  # as far as net.core.somaxconn lets it
ACCEPTED: Final = 16  # connections in a turn
TURN: Final = 16  # connections that are read in a turn,
SHARE: Final = 64  # and messages of one of them
WITHOUT_DESCRIPTORS: Final = 0.1  # seconds until it is tried again to let somebody in
_ACTOR: Final = re.compile(rb"[a-z][\x21-\x7e]{0,200}/[0-9]{1,15}")
log = logging.getLogger("router")


def address_of(identity: bytes) -> str:
    """An actor's identity is its address; any other is written as `~` and its hex digits."""
    return identity.decode() if _ACTOR.fullmatch(identity) else f"~{identity.hex()}"


class _Connection:
    """A peer and its socket.

    Attributes:
        address: how messages reach it; empty until its handshake is over.
        left_over: whether messages may wait that were read already.
        ended: whether nothing more can be read.
        blocked: whether the kernel takes nothing for now.
    """

    __slots__ = ("address", "blocked", "descriptor", "ended", "left_over", "peer", "socket")

    def __init__(self, accepted: socket.socket) -> None:
        self.socket, self.descriptor = accepted, accepted.fileno()
        self.peer = Peer()
        self.address = ""
        self.left_over = self.ended = self.blocked = False

    def read(self) -> None:
        """Take in what has come, unless there is something left over to be looked at first."""
        if self.left_over or self.ended:
            return
        chunk = received(self.socket)
        if chunk is not None:
            self.ended = not chunk
            self.peer.feed(chunk)

    def write(self) -> None:
        """Give the kernel what it takes. Raises OSError when the other end is gone."""
        peer = self.peer
        try:
            while peer.waiting:
                peer.took(self.socket.sendmsg(peer.batch(), (), socket.MSG_NOSIGNAL))
        except BlockingIOError:
            self.blocked = True


class InnerDoor:
    """Owns the listening socket and its connections. For the router's thread."""

    def __init__(self, path: Path, poll: select.epoll, counters: dict[str, int]) -> None:
        """Listen at `path`: at most 107 bytes, in a directory that nobody else enters.

        `counters` gets `garbage`: connections that were closed for what came over them.
        """
        self._counters = counters
        self._poll = poll
        self._listener = _listen(path)
        self._poll.register(self._listener, select.EPOLLIN)
        self._accept_at: float | None = None  # when somebody may come in again, if nobody may now
        self._starved = False
        self._connections: dict[int, _Connection] = {}
        self._peers: dict[str, _Connection] = {}
        self._half_open: dict[int, float] = {}  # by descriptor, the oldest first: when it has to be over
        self._ready: dict[int, _Connection] = {}  # those that wait to be read, in order
        self._unsent: dict[int, _Connection] = {}
        self._number = int.from_bytes(os.urandom(4), "big")

    # The loop

    def look(self, ready: list[tuple[int, int]], now: float) -> None:
        """Take in what `poll` says of us."""
        for descriptor, events in ready:
            connection = self._connections.get(descriptor)
            if connection is None:
                if descriptor == self._listener.fileno():
                    self._accept(now)
                continue
            if events & select.EPOLLOUT:
                self._unblock(connection)
            if events & ~select.EPOLLOUT:
                self._ready[descriptor] = connection

    def receive(self) -> Iterator[tuple[str, list[bytes]]]:
        """What has come in this turn, each message with its sender's address."""
        for descriptor in list(self._ready)[:TURN]:
            connection = self._ready.pop(descriptor, None)
            if connection is not None:
                yield from self._messages(connection)

    def send(self, address: str, message: Envelope) -> None:
        """Let a message leave with the next `flush`. Raises FullError, UnreachableError."""
        connection = self._peers.get(address)
        if connection is None:
            raise UnreachableError
        frames = message.to_frames()
        try:
            connection.peer.queue(frames)
        except FullError:
            if connection.blocked:
                raise
            self._write(connection)  # it may be full of what was queued in this turn
            connection.peer.queue(frames)
        self._unsent[connection.descriptor] = connection

    def flush(self) -> None:
        """Write what waits."""
        while self._unsent:
            _, connection = self._unsent.popitem()
            if not connection.blocked:
                self._write(connection)

    def tend(self, now: float) -> float | None:
        """Do what is due; also returns when to come back, None for never."""
        while self._half_open and next(iter(self._half_open.values())) <= now:
            self._close(self._oldest())
        if self._accept_at is not None and self._accept_at <= now:
            self._accept_at = None
            self._poll.register(self._listener, select.EPOLLIN)
        if self._ready:
            return now
        due = [] if self._accept_at is None else [self._accept_at]
        due += itertools.islice(self._half_open.values(), 1)
        return min(due, default=None)

    def close(self) -> None:
        """Close all at once; what was not sent is dropped."""
        for connection in list(self._connections.values()):
            self._close(connection)
        self._listener.close()

    # One connection

    def _accept(self, now: float) -> None:
        for _ in range(ACCEPTED):
            try:
                accepted, _ = self._listener.accept()
            except BlockingIOError:
                self._starved = False
                return
            except OSError as error:
                self._starve(error, now)
                return
            self._greet(_Connection(accepted), now)

    def _starve(self, error: OSError, now: float) -> None:
        """No descriptor or no memory: look away, or the poll would say for ever that somebody is there."""
        if not self._starved:
            log.warning("nobody can connect for now: %s", error)
        self._starved = True
        self._accept_at = now + WITHOUT_DESCRIPTORS
        self._poll.unregister(self._listener)

    def _greet(self, connection: _Connection, now: float) -> None:
        try:
            connection.socket.setblocking(False)
            connection.socket.send(GREETING, socket.MSG_NOSIGNAL)  # there is room for it in a new socket
            self._poll.register(connection.descriptor, select.EPOLLIN)
        except OSError:
            connection.socket.close()
            return
        self._connections[connection.descriptor] = connection
        self._half_open[connection.descriptor] = now + HANDSHAKE
        if len(self._half_open) > MOST_HALF_OPEN:
            self._close(self._oldest())

    def _oldest(self) -> _Connection:
        """Of those without a handshake."""
        return self._connections[next(iter(self._half_open))]

    def _messages(self, connection: _Connection) -> Iterator[tuple[str, list[bytes]]]:
        """Its share of this turn."""
        connection.read()
        for _ in range(SHARE):
            frames = self._message(connection)
            if frames is None:
                break
            yield connection.address, frames
        else:
            connection.left_over = True
            self._ready[connection.descriptor] = connection
            return
        connection.left_over = False
        if connection.ended:
            self._close(connection)
        elif connection.peer.waiting:
            self._unsent[connection.descriptor] = connection

    def _message(self, connection: _Connection) -> list[bytes] | None:
        try:
            frames = connection.peer.message()
            if connection.peer.ready and not connection.address:
                self._admit(connection)
        except ProtocolError:
            self._counters["garbage"] += 1
            connection.ended = True
            return None
        return frames

    def _admit(self, connection: _Connection) -> None:
        connection.address = address_of(connection.peer.identity or self._generated())
        del self._half_open[connection.descriptor]
        before = self._peers.get(connection.address)
        if before is not None:
            self._hang_up(before)
        self._peers[connection.address] = connection

    def _generated(self) -> bytes:
        """An identity that nobody has, and hardly one that a router before us gave somebody."""
        while True:
            self._number = (self._number + 1) % (1 << 32)
            found = GENERATED + self._number.to_bytes(4, "big")
            if address_of(found) not in self._peers:
                return found

    def _write(self, connection: _Connection) -> None:
        try:
            connection.write()
        except OSError:
            self._hang_up(connection)
        if connection.blocked:
            self._poll.modify(connection.descriptor, select.EPOLLIN | select.EPOLLOUT)

    def _unblock(self, connection: _Connection) -> None:
        connection.blocked = False
        self._poll.modify(connection.descriptor, select.EPOLLIN)
        self._unsent[connection.descriptor] = connection

    def _hang_up(self, connection: _Connection) -> None:
        """Nobody reaches it any more; reading finds what it had sent, and then the end."""
        if self._peers.get(connection.address) is connection:
            del self._peers[connection.address]
        connection.peer.drop()
        with contextlib.suppress(OSError):
            connection.socket.shutdown(socket.SHUT_RDWR)

    def _close(self, connection: _Connection) -> None:
        self._hang_up(connection)
        for known in (self._connections, self._half_open, self._ready, self._unsent):
            known.pop(connection.descriptor, None)
        connection.socket.close()  # which ends the poll's interest in it


def _listen(path: Path) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # the daemon's lock says that nobody else serves here
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o600)  # before anybody is let in
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
