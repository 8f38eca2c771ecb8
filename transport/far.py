"""The command line's connection to a daemon on another host: ZeroMQ with CURVE, by a connection file.

Imported only for such an address: the library takes 40 ms.
"""

import time

import zmq
from zmq.utils.monitor import recv_monitor_message

from transport import tcp
from transport.connections import Connection
from transport.errors import ProtocolError

MAX_FRAME = 64 * 1024 * 1024
QUEUE_IN = 16  # messages; a blob's pieces up to their credit
REFUSED = (zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
LOST = (zmq.EVENT_DISCONNECTED, zmq.EVENT_CLOSED, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)


def dealer(context: "zmq.Context[zmq.Socket[bytes]]", wish: Connection) -> "zmq.Socket[bytes]":
    """A socket for one connection to that daemon, not connected yet."""
    found = context.socket(zmq.DEALER)
    for option, value in (
        *tcp.OPTIONS,
        (zmq.IMMEDIATE, 1),
        (zmq.RECONNECT_IVL, -1),  # who has lost a connection must know it: what was asked is lost too
    ):
        found.setsockopt(option, value)
    keys = (
        (wish.server, zmq.CURVE_SERVERKEY),
        (wish.public, zmq.CURVE_PUBLICKEY),
        (wish.secret, zmq.CURVE_SECRETKEY),
    )
    for key, option in keys:
        found.setsockopt(option, key.encode())
    return found


class FarDealer:
    """As `zmtp.Dealer`, to another host. Not thread-safe."""

    def __init__(self, wish: Connection, timeout: float = 5.0) -> None:
        """Connect and shake hands. Raises OSError, ProtocolError."""
        self._context = zmq.Context(io_threads=1)
        self._monitor: zmq.Socket[bytes]
        try:
            self._socket = dealer(self._context, wish)
            self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
            self._socket.setsockopt(zmq.RCVHWM, QUEUE_IN)  # a daemon that minds no credit waits in TCP
            self._monitor = self._socket.get_monitor_socket(zmq.EVENT_ALL)
            self._socket.connect(wish.endpoint)
            self._shake_hands(wish, time.monotonic() + timeout)
        except zmq.ZMQError as error:
            self.close()
            raise ProtocolError(f"cannot connect to {wish.endpoint[:80]!r}: {error}") from error
        except BaseException:
            self.close()
            raise

    def _shake_hands(self, wish: Connection, until: float) -> None:
        """Until the other end has let us in; it says no by name."""
        while (left := until - time.monotonic()) > 0:
            if not self._monitor.poll(int(left * 1000) + 1):
                break
            event = recv_monitor_message(self._monitor)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return
            if event in REFUSED:
                who = wish.name or wish.public
                text = f"the daemon at {wish.endpoint} does not know key {who}: actr keys allow, on its host"
                raise ProtocolError(text)
            if event in LOST:
                break
        raise ConnectionRefusedError(f"nobody answers at {wish.endpoint}")

    def send(self, frames: list[bytes]) -> None:
        """Send one message. Raises OSError when the connection is gone."""
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            raise ConnectionResetError("the daemon is gone, or does not take any more") from None

    def receive(self, timeout: float | None = None) -> list[bytes]:
        """One whole message. Raises TimeoutError, ConnectionError (the daemon went away)."""
        until = None if timeout is None else time.monotonic() + timeout
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        while True:
            left = None if until is None else max(0.0, until - time.monotonic())
            ready = dict(poller.poll(None if left is None else int(left * 1000) + 1))
            if self._socket in ready:  # what had come before the end still counts
                found: list[bytes] = self._socket.recv_multipart()
                return found
            if self._monitor not in ready:
                raise TimeoutError
            if recv_monitor_message(self._monitor)["event"] in LOST:
                raise ConnectionResetError("the connection to the daemon broke")

    def close(self) -> None:
        """Close the connection; doing it twice is fine."""
        self._context.destroy(linger=0)
