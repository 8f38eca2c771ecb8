"""The router's sockets: a ROUTER on a Unix socket, and where that is wanted one on TCP (outer.py).

Their frames are given to the switch and back.

Facts of ZeroMQ that shape this (docs/decisions.md): ROUTER_MANDATORY, or messages to a hung peer are
accepted and lost; explicit high-water marks, message size and linger; the routing id `name/incarnation`
is an actor's address, and clients take whatever id the socket gives them.
"""

import contextlib
import os
import re
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import zmq

from transport.envelope import MAX_MESSAGE, Envelope, failure, parse
from transport.errors import ProtocolError, RemoteError
from transport.held import Held
from transport.outer import MARK, OuterDoor
from transport.switch import Send, Switch

QUEUE = 10_000
OUTER_BATCH = 32
BATCH = 256  # messages taken before deadlines and the control channel are looked at again


_ACTOR = re.compile(rb"[a-z][\x21-\x7e]{0,200}/[0-9]{1,15}")


class RouterSocket:
    """Owns the sockets and runs the loop. One thread."""

    def __init__(
        self,
        path: Path,
        welcome: dict[str, object],
        outer: "Callable[[zmq.Context[zmq.Socket[bytes]]], OuterDoor] | None" = None,
    ) -> None:
        """Bind `path` (at most 107 bytes, in a directory that nobody else enters); `outer` makes a door."""
        self.switch = Switch(time.monotonic(), welcome)
        self._context = zmq.Context(io_threads=1)
        self._socket = self._context.socket(zmq.ROUTER)
        for option, value in (
            (zmq.ROUTER_MANDATORY, 1),
            (zmq.ROUTER_HANDOVER, 1),  # a reconnecting actor must not wait for its own half-dead connection
            (zmq.SNDHWM, QUEUE),
            (zmq.RCVHWM, QUEUE),
            (zmq.LINGER, 0),
            (zmq.MAXMSGSIZE, MAX_MESSAGE),
            (zmq.HANDSHAKE_IVL, 4000),
        ):
            self._socket.setsockopt(option, value)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # the daemon's lock says that nobody else serves here
        self._socket.bind(f"ipc://{path}")
        path.chmod(0o600)
        self._outer = outer(self._context) if outer else None
        self._held = Held()

    def run(self, control: int, on_control: Callable[[], bool]) -> None:
        """Serve until `on_control`, called when descriptor `control` is readable, returns False."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(control, zmq.POLLIN)
        outer = self._outer
        if outer is not None:
            poller.register(outer.socket, zmq.POLLIN)
            poller.register(outer.zap, zmq.POLLIN)
        while True:
            ready = dict(poller.poll(self._wait()))
            if control in ready and not on_control():
                return
            if self._socket in ready:
                self._receive_batch()
            if outer is not None and outer.zap in ready:
                outer.admit()
            if outer is not None and outer.socket in ready:
                self._receive_outer(outer)

    def _wait(self) -> int | None:
        """Do what is due; milliseconds until something will be, None for never."""
        expired, again = self.switch.expire(time.monotonic())
        probes, probe = self.switch.probe(time.monotonic())
        self._deliver(expired + probes)
        bind = self._outer.tend(time.monotonic()) if self._outer else None
        held = self._held.retry(self._send, time.monotonic())
        due = [at for at in (again, probe, bind, held) if at is not None]
        return max(0, int((min(due) - time.monotonic()) * 1000) + 1) if due else None

    def _receive_batch(self) -> None:
        for _ in range(BATCH):
            try:
                peer, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._deliver(self._understand(_address(peer), frames))

    def _receive_outer(self, outer: OuterDoor) -> None:
        """Fewer at a time: those of this host come first."""
        for _ in range(OUTER_BATCH):
            try:
                received = outer.receive()
            except ProtocolError:
                self.switch.counters["malformed"] += 1
                continue
            if received is None:
                return
            peer, message, refused = received
            if refused is None:
                self._deliver(self.switch.receive(peer, message, time.monotonic()))
            else:
                self.switch.counters["refused"] += 1
                self._deliver([(peer, failure(message.forwarded(peer), refused))])

    def _understand(self, peer: str, frames: list[bytes]) -> list[Send]:
        try:
            return self.switch.receive(peer, parse(frames, peer), time.monotonic())
        except (ProtocolError, KeyError, ValueError, TypeError) as error:
            self.switch.counters["malformed"] += 1
            refused = RemoteError("invalid_argument", f"message refused: {error}")
            return [(peer, failure(Envelope("REQ", fr=peer), refused))]

    def _deliver(self, sends: list[Send]) -> None:
        waiting = deque(sends)
        while waiting:
            address, message = waiting.popleft()
            try:
                self._send(address, message)
            except zmq.Again:
                if not self._held.keep(address, message):
                    waiting.extend(self.switch.full(address, message))
            except zmq.ZMQError as error:
                if error.errno != zmq.EHOSTUNREACH:
                    raise
                waiting.extend(self.switch.unreachable(address, message))

    def _send(self, address: str, message: Envelope) -> None:
        """Raises zmq.Again for a full queue, ZMQError with EHOSTUNREACH for nobody there."""
        far = self._outer is not None and address.startswith(MARK)
        socket = self._outer.socket if self._outer is not None and far else self._socket
        socket.send_multipart([_routing_id(address), *message.to_frames()], zmq.NOBLOCK)

    def close(self) -> None:
        """Close at once; what was not sent is dropped."""
        self._context.destroy(linger=0)


def _address(peer: bytes) -> str:
    """An actor's routing id is its address; any other id is written as `~` and its hex digits."""
    if _ACTOR.fullmatch(peer):
        return peer.decode()
    return f"~{peer.hex()}"


def _routing_id(address: str) -> bytes:
    return bytes.fromhex(address.lstrip("~")) if address.startswith("~") else os.fsencode(address)
