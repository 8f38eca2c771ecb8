"""The command line's side of the protocol: one connection, one request at a time, no ZeroMQ library.

Every millisecond here is paid at every start of `actr`, so a message is written and read with its plain
header (docs/protocol.md, "Frames") instead of through `Envelope`, which needs dataclasses; a test holds
both to the same bytes. A router or an actor that dies is back within a second: requests that may be
repeated are repeated, streams go on where they were, and only what is left uncertain becomes an error.
"""

from __future__ import annotations

import time

from transport.bare import exists, is_file, random_id
from transport.errors import ProtocolError, RemoteError
from transport.packing import pack, unpack
from transport.zmtp import Dealer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from transport.connections import Connection
    from transport.far import FarDealer

SIGNATURE = b"ACTD1"
MINOR = 0  # of the protocol that this client speaks
RETRY_AFTER = 0.03  # seconds
SHAKE_HANDS = 5.0  # seconds that a router may take to answer a connection
PATIENCE_AT_START = 2.0  # seconds for a socket that refuses: its router may just be starting again
PATIENCE = 20.0  # seconds for a router that went away to come back: a stop in order and a start, under load
LATE = 1.0  # seconds after its deadline until an answer is given up
CREDIT = 1 << 20
ENDS = ("FIN", "ERR")


class NotRunningError(Exception):
    """Nobody answers at the address; the text says how to start the daemon."""


class Message:
    """One message of a stream.

    Attributes:
        kind: `part` (a partial answer), `event`, or `final`.
        body: its body, decoded.
        buffers: the raw bytes beside it.
        seq: its sequence number, 0 for none.
    """

    __slots__ = ("body", "buffers", "kind", "seq")

    def __init__(self, kind: str, body: Any, buffers: tuple[bytes, ...] = (), seq: int = 0) -> None:
        self.kind = kind
        self.body = body
        self.buffers = buffers
        self.seq = seq


def events_of(message: Message) -> Iterator[tuple[int, dict[str, Any]]]:
    """The numbers and bodies of an event, or of those gathered in one (`events.subscribe`)."""
    if "numbers" not in message.body:
        yield message.seq, message.body
        return
    for number, packed in zip(message.body["numbers"], message.body["events"], strict=True):
        yield number, unpack(packed)


class _LostError(Exception):
    """The connection broke; `sent` says whether the whole request had been given to it."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__("the router went away")
        self.sent = sent


class Client:
    """A connection to the router at `path`, renewed by itself when the router is. Not thread-safe.

    Attributes:
        trace: what every request belongs to: a trace id, or a whole `traceparent` (W3C); empty for nothing.
    """

    def __init__(self, path: str, *, node: Connection | None = None, patience: float = PATIENCE) -> None:
        """Connect, to the router at `path` or that of another node. Raises NotRunningError, ProtocolError.

        `patience` is how many seconds a router that went away may take to come back; with 0 the connection
        is not renewed: for who would rather turn to somebody else.
        """
        self.path = node.endpoint if node else path
        self._node = node
        self._patience = patience
        self._over = False
        self.trace = ""
        self._welcome: dict[str, Any] = {}
        self._dealer: Dealer | FarDealer | None = None
        self._connect(0.0 if node or not exists(path) else PATIENCE_AT_START)

    def request(
        self,
        op: str,
        body: dict[str, Any],
        *,
        to: str,
        limit: float = 30.0,
        repeatable: bool = False,
        buffers: tuple[bytes, ...] = (),
    ) -> dict[str, Any]:
        """Ask actor `to` and wait at most `limit` seconds for the result; `buffers` go beside the body.

        Raises:
            RemoteError: the error that was answered, or why there is no answer.
            NotRunningError: the router went away and has not come back.
        """
        until = time.monotonic() + limit
        while True:
            try:
                return self._ask(op, body, to, until, buffers)
            except RemoteError as error:
                if not _may_repeat(error, repeatable):
                    raise
                if time.monotonic() + RETRY_AFTER >= until:
                    text = f"{op}: {error} (tried for {limit:g} s)"
                    raise RemoteError(
                        "deadline_exceeded", text, outcome=error.outcome, actor=error.actor
                    ) from error
            time.sleep(RETRY_AFTER)

    def stream(
        self,
        op: str,
        body: dict[str, Any],
        *,
        to: str,
        credit: int = CREDIT,
        resume: Callable[[], dict[str, Any]] | None = None,
        patience: float = 30.0,
        silence: float | None = None,
    ) -> Iterator[Message]:
        """Ask actor `to` for a stream: its parts and events as they come, then the final answer.

        `credit` is how much may be under way at once: bytes of buffers, or events. When the actor or the
        router dies, the request is sent again with the body that `resume` gives, or the same one; that
        ends with an error when it leads nowhere for `patience` seconds, or, to begin with, to a node that is
        down. What an actor itself answers is the
        end, be it an error. Closing the iterator cancels. With `silence`, so many seconds in which nothing
        comes are an error `unavailable`.

        Raises:
            RemoteError: the error that was answered, or why there is no answer.
            NotRunningError: the router went away and has not come back.
        """
        until, is_first = time.monotonic() + patience, True
        while True:
            began = time.monotonic()
            try:
                yield from self._streamed(op, body, to, credit, silence)
            except RemoteError as error:
                now = time.monotonic()
                if now - began > 1:  # it went well for a while: this is a new misfortune
                    until = now + patience
                if now >= until or not _may_resume(error) or (is_first and _is_down(error)):
                    raise
                is_first = False
            else:
                return
            time.sleep(RETRY_AFTER)
            body = resume() if resume else body

    def close(self) -> None:
        """Close the connection; doing it twice is fine."""
        if self._dealer is not None:
            self._dealer.close()
            self._dealer = None

    def hang_up(self) -> None:
        """From any thread: whatever goes on in its own ends with NotRunningError, and it is of no more use.

        To close it is for its own thread still. For a router on this host.
        """
        self._over = True
        if isinstance(self._dealer, Dealer):
            self._dealer.hang_up()

    # One attempt

    def _ask(
        self, op: str, body: dict[str, Any], to: str, until: float, buffers: tuple[bytes, ...]
    ) -> dict[str, Any]:
        left = until - time.monotonic()
        try:
            asked = self._send_request(op, body, to, buffers, dl=max(1, int(left * 1000)))
            while True:
                header, packed, _ = self._receive(asked, until + LATE)
                if header["t"] in ENDS:
                    return _final(header, packed)
        except TimeoutError as error:
            text = f"{op}: no answer from {to} in {left:.3g} s"
            raise RemoteError("deadline_exceeded", text, outcome="unknown", actor=to) from error
        except _LostError as error:
            raise self._lost(error, op) from error

    def _streamed(
        self, op: str, body: dict[str, Any], to: str, credit: int, silence: float | None
    ) -> Iterator[Message]:
        asked = b""
        try:
            asked = self._send_request(op, body, to, (), cr=credit)
            used = heard = 0
            while True:
                until = None if silence is None else time.monotonic() + silence
                header, packed, buffers = self._receive(asked, until)
                heard += 1
                _check_number(header, heard, op)
                if header["t"] in ENDS:
                    asked = b""
                    yield Message("final", _final(header, packed, alive=bool(header.get("fr"))))
                    return
                kind = "part" if header["t"] == "PART" else "event"
                message = Message(kind, unpack(packed), buffers, header.get("sq", 0))
                yield message
                used += _weight(message)
                if used * 2 >= credit:
                    self._send({"t": "CREDIT", "re": asked, "cr": used})
                    used = 0
        except TimeoutError as error:
            text = f"{op}: nothing came from {to} for {silence:g} s"
            raise RemoteError("unavailable", text, outcome="unknown", actor=to) from error
        except _LostError as error:
            asked = b""
            raise self._lost(error, op) from error
        finally:
            if asked:
                self._cancel(asked)

    def _cancel(self, asked: bytes) -> None:
        try:
            self._send({"t": "CANCEL", "re": asked})
        except _LostError:  # then nobody is left to be told
            self.close()

    def _lost(self, error: _LostError, op: str) -> RemoteError:
        """Renew the connection, and say what has become of the request."""
        if self._patience:
            self._connect(self._patience)
        else:
            self.close()
        if not error.sent:
            return RemoteError("unavailable", f"{op}: the router went away")
        text = f"{op}: the router went away before it answered; it may have been done"
        return RemoteError("unavailable", text, outcome="unknown")

    # The connection

    def _connect(self, patience: float) -> None:
        self.close()
        until = time.monotonic() + patience
        while True:
            try:
                self._dealer = _dealer(self.path, self._node)
                self._welcome = {}
                if not self._over and not isinstance(self._dealer, Dealer):
                    self._welcome = self._greet()
            except ProtocolError:
                self.close()
                raise
            except (OSError, _LostError) as error:
                self.close()
                if time.monotonic() >= until or isinstance(error, PermissionError):
                    raise _not_running(self.path, error, far=self._node is not None) from error
            if self._over:
                self.close()
                raise NotRunningError("the client has hung up")
            if self._dealer is not None:
                return
            time.sleep(RETRY_AFTER)

    def _greet(self) -> dict[str, Any]:
        """Say HELLO; returns what is answered. Raises TimeoutError, _LostError, ProtocolError.

        Another host's router is asked before anything else, ours only when somebody wants to know: there is
        one at its socket, and each turn of its loop is waited for.
        """
        asked = random_id(16)
        self._send({"t": "HELLO", "id": asked}, {"minor": MINOR, "features": []})
        header, packed, _ = self._receive(asked, time.monotonic() + SHAKE_HANDS)
        said = unpack(packed)
        if header["t"] != "WELCOME" or not isinstance(said, dict):
            raise ProtocolError(f"what answers at {self.path} is not actord's router")
        return said

    @property
    def welcome(self) -> dict[str, Any]:
        """What the router says of itself: version, instance, node, protocol, features.

        Raises:
            NotRunningError, ProtocolError: it does not say so.
        """
        try:
            self._welcome = self._welcome or self._greet()
        except (OSError, _LostError) as error:
            raise _not_running(self.path, error, far=self._node is not None) from error
        return self._welcome

    def _send_request(
        self, op: str, body: dict[str, Any], to: str, buffers: tuple[bytes, ...], **header: int
    ) -> bytes:
        asked = random_id(16)
        belongs = {"tr": self.trace} if self.trace else {}
        self._send({"t": "REQ", "id": asked, "to": to, "m": op, **header, **belongs}, body, buffers)
        return asked

    def _send(
        self, header: dict[str, Any], body: dict[str, Any] | None = None, buffers: tuple[bytes, ...] = ()
    ) -> None:
        frames = [SIGNATURE, pack(header), pack(body or {}), *buffers]
        if self._dealer is None:
            raise _LostError(sent=False)
        try:
            self._dealer.send(frames)
        except OSError as error:  # half a message at most has left, so nobody has acted on it
            raise _LostError(sent=False) from error

    def _receive(self, asked: bytes, until: float | None) -> tuple[dict[str, Any], bytes, tuple[bytes, ...]]:
        """The next message about `asked`. Raises TimeoutError, _LostError, ProtocolError."""
        while True:
            header, body, buffers = _read(self._receive_frames(until))
            # An error without `re` is the router's on a message that it could not read.
            if header.get("re", asked if header["t"] == "ERR" else b"") == asked:
                return header, body, buffers

    def _receive_frames(self, until: float | None) -> list[bytes]:
        if self._dealer is None:
            raise _LostError(sent=True)
        try:
            return self._dealer.receive(None if until is None else max(0.001, until - time.monotonic()))
        except TimeoutError:
            raise
        except OSError as error:
            raise _LostError(sent=True) from error


def _dealer(path: str, node: Connection | None) -> Dealer | FarDealer:
    """To this host's router, or by a connection file to another's. Raises OSError, ProtocolError."""
    if node is None and not is_file(path):
        return Dealer(path, SHAKE_HANDS)
    from transport.connections import read_connection  # noqa: PLC0415  # 40 ms
    from transport.far import FarDealer  # noqa: PLC0415

    return FarDealer(node or read_connection(path), SHAKE_HANDS)


def _read(frames: list[bytes]) -> tuple[dict[str, Any], bytes, tuple[bytes, ...]]:
    """Header, packed body and buffers. Raises ProtocolError."""
    if frames and not frames[0]:
        frames = frames[1:]
    if len(frames) < 2 or frames[0] != SIGNATURE:
        raise ProtocolError("not an ACTD1 message")
    header = unpack(frames[1])
    if not isinstance(header, dict) or not isinstance(header.get("t"), str):
        raise ProtocolError("the header is not a map with a type")
    return header, frames[2] if len(frames) > 2 else pack({}), tuple(frames[3:])


def _weight(message: Message) -> int:
    """What it takes off the credit."""
    if message.kind == "part":
        return sum(map(len, message.buffers))
    body = message.body
    return len(body["numbers"]) if isinstance(body, dict) and "numbers" in body else 1


def _check_number(header: dict[str, Any], expected: int, op: str) -> None:
    """CURVE lets it pass when somebody on the way leaves whole messages out. Raises RemoteError."""
    number = header.get("nr", 0)
    if number and number != expected:
        text = f"{op}: answer {expected} was lost on the way, {number} came"
        raise RemoteError("unavailable", text, outcome="unknown")


def _final(header: dict[str, Any], packed: bytes, *, alive: bool = False) -> dict[str, Any]:
    """The result. Raises RemoteError; one that a living actor gave is an end, not a misfortune of the way."""
    body = unpack(packed)
    if header["t"] == "ERR":
        error = RemoteError.from_body(body)
        error.outcome = "done" if alive else error.outcome
        raise error
    return body if isinstance(body, dict) else {}


def _may_repeat(error: RemoteError, repeatable: bool) -> bool:
    if not error.retryable or error.outcome == "done" or _is_down(error):
        return False
    return repeatable or error.outcome == "not_started"


def _is_down(error: RemoteError) -> bool:
    """A node that is down will not be back in a moment; an actor that died, or a link that broke, will."""
    return error.details.get("state") == "down"


def _may_resume(error: RemoteError) -> bool:
    """A stream changes nothing; `overloaded` and done means that the credit ended before the stream."""
    return error.retryable and (error.outcome != "done" or error.code == "overloaded")


def _not_running(path: str, error: Exception, *, far: bool) -> NotRunningError:
    if isinstance(error, PermissionError):
        return NotRunningError(f"no permission to connect to {path}; run it as root")
    if far or is_file(path):
        return NotRunningError(f"{path}: {error}: is that daemon up, and is this the key that it has?")
    text = f"no daemon answers at {path}; start it with: actord --state DIR (or set ACTORD_ADDRESS)"
    return NotRunningError(text)
