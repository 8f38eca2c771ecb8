"""A connection to another node's router, for the thread of a pump.

It is there for one connection only: it ends with that, and says why; whoever owns it makes the next one, and
so knows that what was asked over this one is lost. ZeroMQ's descriptors ring when something has changed and
not while something is there (https://libzmq.readthedocs.io/en/latest/zmq_getsockopt.html, ZMQ_FD): each ring
is answered by reading until there is nothing, and what was sent may have swallowed one.
"""

from typing import Final, Protocol

import zmq
from zmq.utils.monitor import recv_monitor_message

from transport import tcp
from transport.connections import Connection
from transport.envelope import Envelope, parse
from transport.errors import ProtocolError
from transport.far import LOST, REFUSED, dealer
from transport.outer import MAX_MESSAGE
from transport.pump import Pump

QUEUE_OUT, QUEUE_IN = 512, 64  # messages
BATCH: Final = 64  # messages taken before others have their turn


class Owner(Protocol):
    """Who hears of a wire. All in the pump's thread, and never from within a call of the owner's."""

    def opened(self, wire: "Wire") -> None:
        """The other end has let us in."""

    def came(self, wire: "Wire", message: Envelope) -> None:
        """A message has come."""

    def broke(self, wire: "Wire", why: str) -> None:
        """It is over; the wire has closed itself."""


class Wires:
    """Makes them, all in one context, that is there once it is wanted: most daemons join nobody."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None

    def open(self, to: Connection, owner: Owner) -> "Wire":
        """Begin to connect. In the pump's thread. Raises ProtocolError for an address or key that is none."""
        if self._context is None:
            self._context = zmq.Context(io_threads=1)
        try:
            return Wire(self._context, self._pump, to, owner)
        except zmq.ZMQError as error:
            raise ProtocolError(f"cannot connect to {to.endpoint[:80]!r}: {error}") from error


class Wire:
    """One CURVE connection, from the first attempt to its end."""

    def __init__(
        self, context: "zmq.Context[zmq.Socket[bytes]]", pump: Pump, to: Connection, owner: Owner
    ) -> None:
        """Begin to connect. Raises zmq.ZMQError for an address or key that is none."""
        self._pump, self._to, self._owner = pump, to, owner
        self._open = True
        self._socket = dealer(context, to)
        for option, value in (
            *tcp.PATIENT,
            (zmq.MAXMSGSIZE, MAX_MESSAGE),
            (zmq.SNDHWM, QUEUE_OUT),
            (zmq.RCVHWM, QUEUE_IN),
        ):
            self._socket.setsockopt(option, value)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_ALL)
        self._numbers = [_number(one, zmq.FD) for one in (self._socket, self._monitor)]
        for number, look in zip(self._numbers, (self._listen, self._see), strict=True):
            pump.watch(number, look)
        try:
            self._socket.connect(to.endpoint)
        except zmq.ZMQError:
            self.close()
            raise
        pump.call(self._see)

    def send(self, message: Envelope) -> bool:
        """Whether it is on its way; not when too many wait already, or nobody is connected."""
        try:
            self._socket.send_multipart(message.to_frames(), zmq.NOBLOCK)
        except zmq.ZMQError:
            return False
        if _number(self._socket, zmq.EVENTS) & zmq.POLLIN:
            self._pump.call(self._listen)
        return True

    def close(self) -> None:
        """End it without a word; doing it twice is fine."""
        if not self._open:
            return
        self._open = False
        for number in self._numbers:
            self._pump.unwatch(number)
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=0)

    def _listen(self) -> None:
        for _ in range(BATCH):
            if not self._open or not _number(self._socket, zmq.EVENTS) & zmq.POLLIN:
                return
            try:
                message = parse(self._socket.recv_multipart(zmq.NOBLOCK))
            except ProtocolError as error:
                self._end(f"it says what nobody understands: {error}")
                return
            self._owner.came(self, message)
        self._pump.call(self._listen)

    def _see(self) -> None:
        """What has become of the connection."""
        while self._open and _number(self._monitor, zmq.EVENTS) & zmq.POLLIN:
            event = recv_monitor_message(self._monitor)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._owner.opened(self)
            elif event in REFUSED:
                self._end(f"it does not know key {self._to.name or self._to.public}: actr keys allow, there")
            elif event in LOST:
                self._listen_to_the_end()

    def _listen_to_the_end(self) -> None:
        """What had come before the end still counts."""
        self._listen()
        self._end("the connection broke, or nobody answers")

    def _end(self, why: str) -> None:
        if self._open:
            self.close()
            self._owner.broke(self, why)


def _number(socket: "zmq.Socket[bytes]", option: int) -> int:
    found = socket.getsockopt(option)
    return found if isinstance(found, int) else 0
