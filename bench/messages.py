"""Messages: round trips, how many a second, a thousand clients at once; ZeroMQ beside gRPC.

The question is for the version, which nobody has to look up. Direct: whoever holds the socket answers.
Through the router: an actor does, in another process. All clients are in Python.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from concurrent import futures
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import grpc
import zmq

from bench.gateway import VERSION, Api, average
from bench.pairs import Comparison, in_turn
from transport.client import Client
from transport.envelope import Envelope, parse, request
from transport.grpc.interface import message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.peers import Actord, Containerd

ROOT: Final = Path(__file__).resolve().parents[1]
BATCH: Final = 200  # requests under way at once
BATCHES: Final = 20
CROWD: Final = 1000
SECONDS: Final = 60
OWN_CONNECTION: Final = (("grpc.use_local_subchannel_pool", 1),)  # else all clients would share one
DIRECT: Final = ("router", "router.ping")
ROUTED: Final = ("supervisor", "introspection.version")
Cases = dict[str, "Callable[[], float]"]


def measure(peer: Containerd, actord: Actord, rounds: int) -> list[Comparison]:
    """Three comparisons, each with the same cases."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with _plain_server(actord.directory / "plain.sock") as plain, ExitStack() as open_:
            sockets = {
                "containerd (Go, gRPC)": peer.socket,
                "a bare server with grpcio": plain,
                "actord's gRPC": actord.state / "containerd.sock",
            }
            _wait_for(sockets["actord's gRPC"])
            singly = _singly(actord, sockets, open_)
            return [
                Comparison("round trip", "ms", in_turn(singly, rounds)),
                Comparison(f"{BATCH} at a time", "per s", in_turn(_cases(actord, sockets, _rate), rounds)),
                Comparison(f"{CROWD} clients at once", "s", in_turn(_cases(actord, sockets, _crowd), rounds)),
            ]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _wait_for(socket: Path) -> None:
    """The daemon answers before its gateway does."""
    end = time.monotonic() + SECONDS
    while not socket.exists():
        assert time.monotonic() < end, f"{socket} has not come"
        time.sleep(0.05)


def _singly(actord: Actord, sockets: dict[str, Path], open_: ExitStack) -> Cases:
    cases = {}
    for name, socket in sockets.items():
        api = open_.enter_context(closing(Api(socket)))
        cases[name] = average(api.method(VERSION, "Version"))
    client = open_.enter_context(closing(Client(actord.address)))
    for name, (actor, op) in (("direct", DIRECT), ("through the router", ROUTED)):
        cases[f"actord, {name}"] = average(partial(client.request, op, {}, to=actor))
    return cases


def _cases(actord: Actord, sockets: dict[str, Path], measured: Callable[[Open], float]) -> Cases:
    cases: dict[str, Open] = {name: partial(_Calls, socket) for name, socket in sockets.items()}
    for name, ask in (("direct", DIRECT), ("through the router", ROUTED)):
        cases[f"actord, {name}"] = partial(_Requests, actord.address, ask)
    return {name: partial(measured, open_) for name, open_ in cases.items()}


def _rate(open_: Open) -> float:
    """Answers a second, on one connection."""
    with open_(1) as clients:
        clients.ask(1)
        began = time.perf_counter()
        for _ in range(BATCHES):
            clients.ask(BATCH)
        return BATCH * BATCHES / (time.perf_counter() - began)


def _crowd(open_: Open) -> float:
    """Seconds from before the first of many clients connects until each has its answer."""
    began = time.perf_counter()
    with open_(CROWD) as clients:
        clients.ask(1)
        return time.perf_counter() - began


class _Calls:
    """Clients of a gRPC server, each with a connection of its own."""

    def __init__(self, socket: Path, clients: int) -> None:
        answer = message("containerd.services.version.v1.VersionResponse")
        self._question = message("google.protobuf.Empty")()
        self._channels = [
            grpc.insecure_channel(f"unix:{socket}", options=OWN_CONNECTION) for _ in range(clients)
        ]
        self._calls: list[Any] = [
            channel.unary_unary(
                f"/{VERSION}/Version", lambda body: body.SerializeToString(), answer.FromString
            )
            for channel in self._channels
        ]

    def ask(self, times: int) -> None:
        """Each client so many times at once, until all are answered."""
        waiting = [
            call.future(self._question, timeout=SECONDS, wait_for_ready=True)
            for call in self._calls
            for _ in range(times)
        ]
        for one in waiting:
            one.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for channel in self._channels:
            channel.close()


class _Requests:
    """Clients of actord, each with a connection of its own."""

    def __init__(self, address: str, ask: tuple[str, str], clients: int) -> None:
        self._ask = ask
        self._context = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, 2 * CROWD)
        self._sockets = [self._context.socket(zmq.DEALER) for _ in range(clients)]
        for socket in self._sockets:
            socket.setsockopt(zmq.RCVTIMEO, SECONDS * 1000)
            socket.connect(f"ipc://{address}")

    def ask(self, times: int) -> None:
        """Each client so many times at once, until all are answered."""
        actor, op = self._ask
        for socket in self._sockets:
            for _ in range(times):
                socket.send_multipart(request(actor, op, {}, deadline=SECONDS * 1000).to_frames())
        for socket in self._sockets:
            for _ in range(times):
                answer = _answer(socket)
                assert answer.type == "FIN", answer.value()
                answer.value()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)


if TYPE_CHECKING:
    Open = Callable[[int], _Calls | _Requests]


def _answer(socket: zmq.Socket[bytes]) -> Envelope:
    while (found := parse(socket.recv_multipart())).type == "PONG":  # the router looks whether we are there
        pass
    return found


# A gRPC server that does nothing else


@contextmanager
def _plain_server(socket: Path) -> Iterator[Path]:
    command = [sys.executable, "-P", "-m", "bench.messages", str(socket)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield socket
        finally:
            process.terminate()


def _serve(socket: str) -> None:
    """Until it is ended."""
    answer = message("containerd.services.version.v1.VersionResponse")(version="1", revision="1")
    handler: Any = grpc.unary_unary_rpc_method_handler(
        lambda _question, _context: answer,
        request_deserializer=message("google.protobuf.Empty").FromString,
        response_serializer=lambda body: body.SerializeToString(),
    )
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(VERSION, {"Version": handler}),))
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    print("serving", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    _serve(sys.argv[1])
