"""A gRPC server on a Unix socket: methods by name, errors by kind, the namespace from the header.

A service is an object whose class says which service of the interface it is, with a method for each of those
that it has, in snake case: `list_stream` for `ListStream`. Any other is answered with UNIMPLEMENTED.
It takes the request (or an iterator of requests) and the call, and gives the response (or yields responses).
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from google.protobuf.message import DecodeError

from transport.errors import RemoteError
from transport.grpc import interface
from transport.grpc.exchange import Exchange, GoneError, Peer
from transport.grpc.http2 import MOST_MESSAGE, Stream
from transport.grpc.loop import Loop, begin_or_end

WORKERS: Final = 128  # methods under way at once; a stream holds one for as long as it lives
LIMIT: Final = 30.0  # seconds, for a call without a deadline
_NAMESPACE, _LEASE = "containerd-namespace", "containerd-lease"

CANCELLED, UNKNOWN, EXHAUSTED, UNIMPLEMENTED, INTERNAL = 1, 2, 8, 12, 13
STATUS: Final = {
    "invalid_argument": 3,
    "deadline_exceeded": 4,
    "not_found": 5,
    "already_exists": 6,
    "permission_denied": 7,
    "overloaded": EXHAUSTED,
    "failed_precondition": 9,
    "out_of_range": 11,
    "not_implemented": UNIMPLEMENTED,
    "unavailable": 14,
}
"""Of gRPC, by the code of the wire; any other is UNKNOWN."""


class OutOfRangeError(RemoteError):
    """An offset beyond what there is: theirs alone, the codes of our wire do without."""

    def __init__(self, text: str) -> None:
        super().__init__("invalid_argument", text)
        self.code = "out_of_range"


class LongerError(Exception):
    """A method that was to be quick would take longer: a worker begins it anew."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a method may want to know of its call.

    Attributes:
        quick: whether nobody may be waited for: the method raises LongerError instead.
    """

    exchange: Exchange
    quick: bool = False

    def header(self, name: str) -> str:
        """A value of the metadata; empty without it."""
        return self.exchange.headers.get(name, "")

    @property
    def namespace(self) -> str:
        """That of the header. Raises RemoteError without one."""
        found = self.header(_NAMESPACE)
        if not found:
            raise RemoteError(
                "failed_precondition", "namespace is required: send header containerd-namespace"
            )
        return found

    @property
    def lease(self) -> str:
        """That of the header; empty without one."""
        return self.header(_LEASE)

    @property
    def trace(self) -> str:
        """Its `traceparent`, as the client has it; empty without one."""
        return self.header("traceparent")

    @property
    def limit(self) -> float:
        """Seconds until its deadline."""
        left = self.exchange.left
        return LIMIT if left is None else max(0.001, min(left, 3600.0))

    @property
    def active(self) -> bool:
        """Whether the client still waits."""
        return not self.exchange.over

    def when_over(self, function: Callable[[], None]) -> None:
        """Call `function` when it has ended, however it has; at once if that was before."""
        self.exchange.when_over(function)


def next_of(requests: Iterator[Any]) -> Any:
    """The next message of a client, in any thread; None when it sends no more, or has gone."""
    try:
        return next(requests, None)
    except GoneError:
        return None


Begun = Callable[[Call, str], None]  # is told the full name of the method


class Service:
    """Base of all services.

    Attributes:
        name: full name in the interface.
        quick: methods, in snake case, that as a rule answer without waiting, and can be begun anew.
    """

    name: ClassVar[str]
    quick: ClassVar[frozenset[str]] = frozenset()


def serve(address: Path, services: Sequence[Service], log: logging.Logger, begun: Begun) -> "Server":
    """Start to serve at a socket, in place of one that a crash has left there.

    `begun` is called before each call, in the thread that works for it.

    Raises:
        OSError: the address cannot be had.
    """
    return Server(address, [one for service in services for one in _methods(service)], log, begun)


def snake(name: str) -> str:
    """A method's name as its service has it: `close_io` for `CloseIO`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


@dataclass(frozen=True, slots=True)
class _Method:
    """One method of a service, and what the interface says of it."""

    path: str
    full_name: str
    parse: Callable[[bytes], Any]
    own: Callable[[Any, Call], Any]
    takes_many: bool
    gives_many: bool
    quick: bool

    def answers(self, call: Call, asked: bytes | None) -> Iterable[Any]:
        """What it answers, to one message or to many. Raises DecodeError, and whatever it raises."""
        given = map(self.parse, call.exchange.messages()) if asked is None else self.parse(asked)
        found = self.own(given, call)
        return found if self.gives_many else (found,)


def _methods(service: Service) -> Iterator[_Method]:
    for name, declared in interface.methods(service.name).items():
        own = getattr(service, snake(name), None)
        if own is not None:
            yield _Method(
                f"/{service.name}/{name}",
                declared.full_name,
                interface.message(declared.input_type.full_name).FromString,
                own,
                declared.client_streaming,
                declared.server_streaming,
                snake(name) in service.quick,
            )


class Server:
    """Methods behind a socket."""

    def __init__(self, address: Path, methods: Iterable[_Method], log: logging.Logger, begun: Begun) -> None:
        self._methods = {one.path: one for one in methods}
        self._log, self._begun = log, begun
        self._workers = futures.ThreadPoolExecutor(WORKERS, "grpc")
        self._loop = Loop(address, log, self._happened)

    def stop(self, grace: float) -> None:
        """Let calls under way end for so many seconds; then their connections are closed."""
        self._loop.stop(grace)
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _happened(self, peer: Peer, stream: Stream) -> None:
        """In the loop: begin what can be begun."""
        exchange = begin_or_end(peer, stream)
        if exchange is None or exchange.begun:
            return
        method = self._methods.get(stream.headers.get(":path", ""))
        if not stream.headers.get("content-type", "").startswith("application/grpc"):
            exchange.refuse(415)
        elif method is None:
            exchange.end(UNIMPLEMENTED, f"no method is named {stream.headers.get(':path', '')[:256]!r}")
        elif method.takes_many or stream.ended or stream.refusal:
            self._begin(method, exchange)

    def _begin(self, method: _Method, exchange: Exchange) -> None:
        exchange.begun = True
        if exchange.refusal:
            exchange.end(*exchange.refusal)
        elif method.takes_many:
            self._workers.submit(self._perform, method, exchange, None)
        elif exchange.waiting != 1:
            exchange.end(UNIMPLEMENTED, f"{method.full_name} takes one message, not {exchange.waiting}")
        else:
            asked = next(exchange.messages())
            if not method.quick or not self._perform(method, exchange, asked, quick=True):
                self._workers.submit(self._perform, method, exchange, asked)

    def _perform(
        self, method: _Method, exchange: Exchange, asked: bytes | None, *, quick: bool = False
    ) -> bool:
        """Answer a call; False if that takes longer than it may."""
        call = Call(exchange, quick)
        try:
            self._begun(call, method.full_name)
            for answer in method.answers(call, asked):
                exchange.send(_packed(answer))
            exchange.end(*(exchange.refusal or (0, "")))
        except LongerError:
            return False
        except GoneError:
            exchange.end(CANCELLED, "the client has gone")
        except DecodeError:
            exchange.end(INTERNAL, f"what came is no request of {method.full_name}")
        except Exception as error:  # noqa: BLE001  # whatever it is, the client is told and the server goes on
            if not hasattr(error, "code"):  # which nobody expected
                self._log.exception("%s", method.full_name)
            exchange.end(*_told(error))
        return True


def _told(error: Exception) -> tuple[int, str]:
    """Status and text of what a method has raised."""
    known = STATUS.get(getattr(error, "code", ""))
    if known is not None or isinstance(error, RemoteError):
        return known or UNKNOWN, str(error)
    return UNKNOWN, f"{type(error).__name__}: {error}"


def _packed(answer: Any) -> bytes:
    found: bytes = answer.SerializeToString()
    if len(found) > MOST_MESSAGE:
        raise RemoteError("overloaded", f"the answer has {len(found)} bytes, more than {MOST_MESSAGE}")
    return found
