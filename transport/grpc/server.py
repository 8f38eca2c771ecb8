"""A gRPC server on a Unix socket: methods by name, errors by kind, the namespace from the header.

A service is an object whose class says which service of the interface it is, with a method for each of those
that it has, in snake case: `list_stream` for `ListStream`. Any other is answered with UNIMPLEMENTED.
It takes the request (or an iterator of requests) and the call, and gives the response (or yields responses).
One that may wait for days says so by `answers_later`.
"""

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import grpc

from storage.errors import InvalidArgumentError
from storage.names import check_identifier
from transport.errors import ProtocolError, RemoteError
from transport.grpc import interface, socket_file

MOST_BYTES: Final = 16 << 20
"""Of one message, as containerd has it."""
WORKERS: Final = 512
"""Methods under way at once, of those that hold a thread: a stream does so for as long as it lives."""
WAITING: Final = 4096
"""Calls for which there is no thread yet; any other is refused."""
STOP_SECONDS: Final = 2.0
LONGEST: Final = 3600.0
"""Seconds that a call lasts at most, so one without a deadline: hooks of a container may take their time."""
MODE: Final = 0o660
_LATER: Final = "answers_later"
Method = TypeVar("Method", bound=Callable[..., None])
_NAMESPACE, _LEASE = "containerd-namespace", "containerd-lease"

STATUS: Final = {
    "not_found": grpc.StatusCode.NOT_FOUND,
    "already_exists": grpc.StatusCode.ALREADY_EXISTS,
    "invalid_argument": grpc.StatusCode.INVALID_ARGUMENT,
    "failed_precondition": grpc.StatusCode.FAILED_PRECONDITION,
    "unavailable": grpc.StatusCode.UNAVAILABLE,
    "overloaded": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "deadline_exceeded": grpc.StatusCode.DEADLINE_EXCEEDED,
    "permission_denied": grpc.StatusCode.PERMISSION_DENIED,
    "not_implemented": grpc.StatusCode.UNIMPLEMENTED,
    "out_of_range": grpc.StatusCode.OUT_OF_RANGE,
}
"""By the code of the wire; any other is UNKNOWN."""


class OutOfRangeError(RemoteError):
    """An offset beyond what there is: theirs alone, the codes of our wire do without."""

    def __init__(self, text: str) -> None:
        super().__init__("invalid_argument", text)
        self.code = "out_of_range"


@dataclass(frozen=True, slots=True)
class Call:
    """What a method may want to know of its call."""

    context: grpc.ServicerContext

    def header(self, name: str) -> str:
        """A value of the metadata; empty without it."""
        found = dict(self.context.invocation_metadata()).get(name, "")
        return found if isinstance(found, str) else found.decode(errors="replace")

    @property
    def namespace(self) -> str:
        """That of the header. Raises RemoteError without one, or for what can be none."""
        found = self.header(_NAMESPACE)
        if not found:
            raise RemoteError(
                "failed_precondition", "namespace is required: send header containerd-namespace"
            )
        try:
            check_identifier("namespace", found)
        except InvalidArgumentError as error:
            raise RemoteError(error.code, str(error)) from error
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
        """Seconds until its deadline, which is infinitely far off where the client names none."""
        return max(0.001, min(self.context.time_remaining(), LONGEST))

    @property
    def active(self) -> bool:
        """Whether the client still waits."""
        return bool(self.context.is_active())

    def when_over(self, function: Callable[[], None]) -> None:
        """Call `function` when it has ended, however it has; at once if that was before."""
        if not self.context.add_callback(function):
            function()


def next_of(requests: Iterator[Any]) -> Any:
    """The next message of a client, in any thread; None when it sends no more, or has gone."""
    try:
        return next(requests, None)
    except grpc.RpcError:
        return None


class Answer:
    """The answer to a call that may wait for days, without a thread. To be given once, in any thread."""

    def __init__(self, context: grpc.ServicerContext, send: Callable[[Any], None]) -> None:
        """`send` takes the response, and then None."""
        self._context, self._send = context, send

    def begin(self, response: Any) -> None:
        """Of a stream of answers, this is one; it goes on for as long as client and server are there."""
        self._send(response)

    def give(self, response: Any) -> None:
        """It is this."""
        self._send(response)
        self._send(None)

    def refuse(self, error: RemoteError) -> None:
        """There is none."""
        self._context.set_code(STATUS.get(error.code, grpc.StatusCode.UNKNOWN))
        self._context.set_details(str(error))
        self._send(None)


def answers_later(method: Method) -> Method:
    """Mark a method that returns before it has answered; its third argument is an `Answer`."""
    setattr(method, _LATER, True)
    return method


Begun = Callable[[Call, str], None]  # is told the full name of the method


class Service:
    """Base of all services.

    Attributes:
        name: full name in the interface.
    """

    name: ClassVar[str]


def serve(address: Path, services: Sequence[Service], log: logging.Logger, begun: Begun) -> grpc.Server:
    """Start to serve at a socket, in place of one that a crash has left there.

    `begun` is called before each call, in the thread that works for it.

    Raises:
        OSError: the address cannot be had.
    """
    socket_file.clear(address)
    options = [
        ("grpc.max_receive_message_length", MOST_BYTES),
        ("grpc.max_send_message_length", MOST_BYTES),
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.server(
        futures.ThreadPoolExecutor(WORKERS, "grpc"),
        options=options,
        maximum_concurrent_rpcs=WORKERS + WAITING,  # not counting those who wait without a thread
    )
    server.add_generic_rpc_handlers([_handlers(one, log, begun) for one in services])
    before = os.umask(0o117)
    try:
        server.add_insecure_port(f"unix:{address}")
    except RuntimeError as error:
        server.start()  # one that was never started is never freed, with all that grpcio has open
        server.stop(None).wait()
        raise socket_file.reason(address) from error
    finally:
        os.umask(before)
    server.start()
    address.chmod(MODE)
    return server


def snake(name: str) -> str:
    """A method's name as its service has it: `close_io` for `CloseIO`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _handlers(service: Service, log: logging.Logger, begun: Begun) -> grpc.GenericRpcHandler:
    found = {}
    for name, method in interface.methods(service.name).items():
        own = getattr(service, snake(name), None)
        if own is not None:
            found[name] = _handler(method, own, log, begun)
    return grpc.method_handlers_generic_handler(service.name, found)


def _handler(
    method: Any, own: Callable[..., Any], log: logging.Logger, begun: Begun
) -> "grpc.RpcMethodHandler[Any, Any]":
    asked = interface.message(method.input_type.full_name)

    def unary(request: Any, context: grpc.ServicerContext) -> Any:
        call = Call(context)
        begun(call, method.full_name)
        with _translated(context, method.full_name, log):
            return own(request, call)

    def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        call = Call(context)
        begun(call, method.full_name)
        with _translated(context, method.full_name, log):
            yield from own(request, call)

    def later(request: Any, context: grpc.ServicerContext, send: Callable[[Any], None]) -> None:
        call = Call(context)
        begun(call, method.full_name)
        with _translated(context, method.full_name, log):
            own(request, call, Answer(context, send))

    if getattr(own, _LATER, False):
        threadless: Any = _Threadless(later)
        return grpc.unary_stream_rpc_method_handler(threadless, asked.FromString, _serialized)
    kind = {
        (False, False): (grpc.unary_unary_rpc_method_handler, unary),
        (False, True): (grpc.unary_stream_rpc_method_handler, stream),
        (True, False): (grpc.stream_unary_rpc_method_handler, unary),
        (True, True): (grpc.stream_stream_rpc_method_handler, stream),
    }
    make, function = kind[method.client_streaming, method.server_streaming]
    return make(function, asked.FromString, _serialized)


def _serialized(response: Any) -> bytes:
    found: bytes = response.SerializeToString()
    return found


class _Threadless:
    """For grpcio a method with a stream of answers, of which there is one: on the wire that is the same."""

    experimental_non_blocking = True  # grpcio's own health service is built on it

    def __init__(self, function: Callable[[Any, grpc.ServicerContext, Callable[[Any], None]], None]) -> None:
        self._function = function

    def __call__(self, request: Any, context: grpc.ServicerContext, send: Callable[[Any], None]) -> None:
        self._function(request, context, send)


@contextlib.contextmanager
def _translated(context: grpc.ServicerContext, name: str, log: logging.Logger) -> Iterator[None]:
    """Errors of ours, which have a code, as statuses of theirs.

    What nobody expected is UNKNOWN with its text, and in the log.
    """
    try:
        yield
    except RemoteError as error:
        _abort(context, STATUS.get(error.code, grpc.StatusCode.UNKNOWN), str(error))
    except (
        ProtocolError
    ) as error:  # the client's, since what it gave is passed on: a number beyond all limits
        _abort(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
    except (GeneratorExit, grpc.RpcError):
        raise
    except Exception as error:  # whatever it is, the client is told and the server goes on
        known = STATUS.get(getattr(error, "code", ""))
        if known is not None:
            _abort(context, known, str(error))
        log.exception("%s", name)
        _abort(context, grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, text: str) -> None:
    """End the call; outside of any `except`, since it does so by an exception of its own."""
    context.abort(code, text)
