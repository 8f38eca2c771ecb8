"""The router's door to other hosts: TCP, each peer known by its CURVE key.

No key, no connection: the handshake is answered by the ZAP handler here (https://rfc.zeromq.org/spec/27/),
in the router's own thread, and fails without it. Whoever is in is looked up again for each message, so that
a key that is revoked is worth nothing at once: it asks for nothing more, and no stream of its goes on. Peers
cannot claim an actor's address: all that comes through this door has an address of its own kind, made of key
and identity.
"""

import logging
import select
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import zmq
from zmq.utils import z85

from storage.errors import UnavailableError
from transport import tcp, traces
from transport.doors import OUTER, FullError, UnreachableError
from transport.envelope import Envelope, failure, parse, unreadable
from transport.errors import ProtocolError, RemoteError
from transport.keys import KEY_LENGTH, Key, KeyRing

MAX_MESSAGE: Final = 20 << 20  # a body of 16 MiB, and what is around it
QUEUE_IN, QUEUE_OUT = 16, 512  # messages of one peer
RATE, BURST = 2000.0, 4000.0  # messages a second of one connection, and how many at once
CONNECTIONS: Final = 4  # that one key may have at that pace; all of its others share it
LINES, MOST_LINES = 20.0, 100.0  # of the audit log a second about one who is refused, and at once
MOST_PEERS: Final = 4096  # whose rate is remembered
BIND_AGAIN: Final = 1.0  # seconds
TYPES = frozenset({"HELLO", "REQ", "CANCEL", "CREDIT", "PING"})
RESULTS = frozenset({"PART", "EVT", "FIN"})
REVOKED: Final = "this key has been revoked: ask for a new one"
log = logging.getLogger("router")
audit = logging.getLogger("audit")


@dataclass(frozen=True, slots=True)
class Policy:
    """What roles may do.

    Attributes:
        refusal: why a role may not ask this; empty when it may.
        is_audited: whether an operation that is passed on is worth a line in the audit log.
    """

    refusal: Callable[[str, Envelope], str]
    is_audited: Callable[[str], bool]


class Buckets:
    """One for each name: it fills at `rate` a second and holds `burst`."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, now: float) -> bool:
        """Whether there was one left."""
        left, since = self._left.pop(name, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        self._left[name] = (left - 1 if left >= 1 else left, now)  # who is refused has taken none
        if len(self._left) > MOST_PEERS:
            self._left.popitem(last=False)
        return left >= 1


class Pace:
    """How many messages come in of one connection, and of all with the same key together.

    A key that may do no more than its connections opens another, or the next, and begins with a full bucket.
    """

    def __init__(self) -> None:
        self._own = Buckets(RATE, BURST)
        self._together = Buckets(CONNECTIONS * RATE, CONNECTIONS * BURST)

    def refusal(self, address: str, public: str, now: float) -> str:
        """Why no further message is heard; empty when one is, which is counted."""
        if not self._own.take(address, now):
            return f"more than {RATE:g} messages a second: send fewer"
        if not self._together.take(public, now):
            return f"more than {CONNECTIONS * RATE:g} messages a second with one key: send fewer"
        return ""


class OuterDoor:
    """Owns the TCP socket, a ROUTER, and the ZAP handler. For the router's thread.

    Sockets of ZeroMQ have descriptors that ring when something has changed, and not while something is there
    (https://libzmq.readthedocs.io/en/latest/zmq_getsockopt.html, ZMQ_FD), and any use of a socket may have
    swallowed a ring: `pending` is to be asked before each wait.
    """

    def __init__(self, endpoint: str, ring: KeyRing, policy: Policy) -> None:
        """Make the sockets; `tend` binds the one on TCP. In a context of their own, with a thread."""
        self._context = zmq.Context(io_threads=1)
        self._endpoint, self._ring, self._policy = endpoint, ring, policy
        self._pace, self._lines = Pace(), Buckets(LINES, MOST_LINES)
        self._unsaid: Counter[str] = Counter()
        self._bound, self._bind_at = False, 0.0
        self._zap = self._context.socket(zmq.REP)
        self._zap.setsockopt(zmq.LINGER, 0)
        self._zap.bind("inproc://zeromq.zap.01")
        self._socket = self._context.socket(zmq.ROUTER)
        server = ring.server()
        for option, value in (
            *tcp.PATIENT,
            (zmq.ROUTER_MANDATORY, 1),
            (zmq.SNDHWM, QUEUE_OUT),
            (zmq.RCVHWM, QUEUE_IN),
            (zmq.MAXMSGSIZE, MAX_MESSAGE),
            (zmq.CURVE_SERVER, 1),
            (zmq.ZAP_ENFORCE_DOMAIN, 1),
        ):
            self._socket.setsockopt(option, value)
        self._socket.setsockopt(zmq.ZAP_DOMAIN, b"actord")
        self._socket.setsockopt(zmq.CURVE_SECRETKEY, server.secret.encode())

    def tend(self, now: float) -> float | None:
        """Bind, unless that is done; gives the time to try again, None for never.

        Somebody else may have the port: that must not keep those of this host from their daemon.
        """
        if self._bound or now < self._bind_at:
            return None if self._bound else self._bind_at
        try:
            self._socket.bind(self._endpoint)
        except zmq.ZMQError as error:
            if not self._bind_at:
                log.error("cannot listen at %s: %s; tried again every second", self._endpoint, error)  # noqa: TRY400
            self._bind_at = now + BIND_AGAIN
            return self._bind_at
        self._bound = True
        log.info("listening at %s", self._endpoint)
        return None

    def watch(self, poll: select.epoll) -> None:
        """Have `poll` say when something has changed here."""
        for one in (self._socket, self._zap):
            poll.register(_number(one, zmq.FD), select.EPOLLIN)

    def pending(self) -> bool:
        """Whether somebody waits to be let in or heard."""
        return any(_number(one, zmq.EVENTS) & zmq.POLLIN for one in (self._socket, self._zap))

    def admit(self) -> None:
        """Answer one question of libzmq, if there is one: may this key come in?"""
        try:
            frames = self._zap.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
        request_id = frames[1] if len(frames) > 1 else b""
        try:
            known, why = self._known(frames), "its key is not allowed"
        except UnavailableError as error:
            known, why = None, str(error)
        status, text = (b"200", b"OK") if known else (b"400", b"this key is not allowed")
        user = known.public.encode() if known else b""
        self._zap.send_multipart([b"1.0", request_id, status, text, user, b""])
        if known is None:
            who = _text(frames[3:4])
            self._complain(who, f"refused a connection from {who}: {why}")

    def _known(self, frames: list[bytes]) -> Key | None:
        """Frames: version, id, domain, address, identity, mechanism, the client's key in 32 bytes."""
        if len(frames) != 7 or frames[0] != b"1.0" or frames[5] != b"CURVE" or len(frames[6]) != 32:
            return None
        return self._ring.keys().get(z85.encode(frames[6]).decode())

    def receive(self) -> tuple[str, Envelope, RemoteError | None] | None:
        """The next message: its sender's address, the message, and why it is refused if it is.

        None for no more now. Raises ProtocolError for one that cannot be read, of a sender who has had his
        share: nothing is said to him.
        """
        try:
            peer, *frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return None
        public = str(peer.get("User-Id"))
        address = OUTER + public.encode().hex() + peer.bytes.hex()
        holder = self._holder(public)
        try:
            name = holder.name if isinstance(holder, Key) else ""
            message = parse([frame.bytes for frame in frames], address, name)
        except ProtocolError as error:
            if self._pace.refusal(address, public, time.monotonic()):
                raise
            refused = unreadable(error) if isinstance(holder, Key) else holder
            return address, Envelope("REQ", fr=address), refused
        return address, message, self._refusal(address, holder, message)

    def _holder(self, public: str) -> Key | RemoteError:
        """Whose key it is; else why nothing of it is heard, and nothing told to it."""
        try:
            known = self._ring.keys().get(public)
        except UnavailableError as error:
            return RemoteError("unavailable", str(error))
        return known or RemoteError("permission_denied", REVOKED)

    def send(self, address: str, message: Envelope) -> None:
        """Give a message to ZeroMQ. Raises FullError, UnreachableError.

        Whose key has been revoked since he asked, or cannot be looked up, hears of that, and of nothing else.
        """
        known = bytes.fromhex(address.removeprefix(OUTER))
        public, identity = known[:KEY_LENGTH].decode(), known[KEY_LENGTH:]
        holder = self._holder(public) if message.type in RESULTS else None
        if isinstance(holder, RemoteError):
            holder.outcome = "unknown"
            self._give(identity, failure(Envelope("REQ", id=message.re, fr=address), holder))
            raise UnreachableError
        self._give(identity, message)

    def _give(self, identity: bytes, message: Envelope) -> None:
        try:
            self._socket.send_multipart([identity, *message.to_frames()], zmq.NOBLOCK)
        except zmq.Again:
            raise FullError from None
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            raise UnreachableError from None

    def close(self) -> None:
        """Close at once; what was not sent is dropped."""
        self._context.destroy(linger=0)

    def _refusal(self, address: str, key: Key | RemoteError, message: Envelope) -> RemoteError | None:
        if isinstance(key, RemoteError):
            return key
        if message.type not in TYPES:
            return RemoteError("permission_denied", f"a client sends no {message.type}")
        if too_fast := self._pace.refusal(address, key.public, time.monotonic()):
            return RemoteError("overloaded", too_fast)
        if message.type != "REQ":
            return None
        why = self._policy.refusal(key.role, message)
        self._audit(key, message, why)
        return RemoteError("permission_denied", why) if why else None

    def _audit(self, key: Key, message: Envelope, why: str) -> None:
        text = f"{key.name} ({key.role}) {message.op} of {message.to}: {why or 'passed on'}"
        if why:
            self._complain(key.name, text, message)
        else:
            passed = logging.INFO if self._policy.is_audited(message.op) else logging.DEBUG
            audit.log(passed, "%s", text, extra=_about(message))

    def _complain(self, who: str, text: str, message: Envelope | None = None) -> None:
        """A line about one who was refused; of a flood some, and how many more there would have been."""
        if not self._lines.take(who, time.monotonic()):
            self._unsaid[who] += 1
            return
        if unsaid := self._unsaid.pop(who, 0):
            text += f"; {unsaid} more refusals were not written"
        if len(self._unsaid) > MOST_PEERS:
            self._unsaid.clear()
        audit.warning("%s", text, extra=_about(message))


def _number(socket: "zmq.Socket[bytes]", option: int) -> int:
    found = socket.getsockopt(option)
    return found if isinstance(found, int) else 0


def _about(message: Envelope | None) -> dict[str, str]:
    """What a record of the log says beside its text."""
    return {"trace": traces.read(message.trace)[0], "operation": message.op} if message else {}


def _text(frames: list[bytes]) -> str:
    return frames[0].decode(errors="replace") if frames else "?"
