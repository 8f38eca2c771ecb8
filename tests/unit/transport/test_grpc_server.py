"""The server of gRPC, as clients of grpcio and bare sockets see it."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from transport.errors import RemoteError
from transport.grpc import loop
from transport.grpc.exchange import GoneError
from transport.grpc.http2 import MOST_MESSAGE, PREFACE
from transport.grpc.interface import message
from transport.grpc.server import Call, LongerError, Service, serve

READ = message("containerd.services.content.v1.ReadContentRequest")
PIECE = message("containerd.services.content.v1.ReadContentResponse")
INFO = message("containerd.services.content.v1.InfoRequest")
SAID = message("containerd.services.content.v1.InfoResponse")
STATUS = message("containerd.services.content.v1.StatusRequest")
STATE = message("containerd.services.content.v1.StatusResponse")
WRITE = message("containerd.services.content.v1.WriteContentRequest")
WRITTEN = message("containerd.services.content.v1.WriteContentResponse")
EMPTY = message("google.protobuf.Empty")
SECONDS = 20.0


class Content(Service):
    """Some methods of one service; each does what its test needs."""

    name = "containerd.services.content.v1.Content"
    quick = frozenset({"info", "status"})

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.over = threading.Event()
        self.entered = threading.Event()
        self.sent = 0
        self.gone: list[type[Exception]] = []

    def info(self, request: Any, call: Call) -> Any:
        self.threads.append(threading.current_thread().name)
        if request.digest == "missing":
            raise RemoteError("not_found", "blob 100 % »missing«: not found\nat all")
        if request.digest == "mistake":
            raise KeyError("nobody expected that")
        found = SAID()
        found.info.digest, found.info.labels["lease"] = request.digest, call.lease
        found.info.labels["namespace"] = call.namespace
        return found

    def status(self, request: Any, call: Call) -> Any:
        self.threads.append(threading.current_thread().name)
        if call.quick:
            raise LongerError
        found = STATE()
        found.status.ref, found.status.offset = request.ref, int(call.limit)
        return found

    def read(self, request: Any, call: Call) -> Iterator[Any]:
        call.when_over(self.over.set)
        self.entered.set()
        for number in range(request.size):
            self.sent += 1
            yield PIECE(offset=number, data=b"p" * request.offset)

    def write(self, requests: Iterator[Any], call: Call) -> Iterator[Any]:
        call.when_over(self.over.set)
        self.entered.set()
        try:
            for request in requests:
                yield WRITTEN(offset=len(request.data))
        except GoneError as error:
            self.gone.append(type(error))
            raise

    def delete(self, _request: Any, call: Call) -> Any:
        call.when_over(self.over.set)
        self.entered.set()
        assert self.over.wait(SECONDS)
        return EMPTY()


@pytest.fixture
def served(tmp) -> Iterator[tuple[Content, grpc.Channel, Any]]:
    service, path = Content(), tmp / "socket"
    server = serve(path, [service], logging.getLogger("test"), lambda _call, _name: None)
    options = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
    with contextlib.closing(grpc.insecure_channel(f"unix:{path}", options=options)) as channel:
        yield service, channel, path
    server.stop(0.0)


def asked(channel: grpc.Channel, name: str, answer: Any, kind: str = "unary_unary") -> Callable[..., Any]:
    path = f"/{Content.name}/{name}"
    call = getattr(channel, kind)(path, lambda body: body.SerializeToString(), answer.FromString)
    header = (("containerd-namespace", "n"), ("containerd-lease", "l"))
    return lambda given, **more: call(given, **{"metadata": header, "timeout": SECONDS, **more})


def refusal(call: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value.code().name, raised.value.details()


def test_a_quick_answer_wakes_nobody_and_one_that_takes_longer_does(served):
    service, channel, _ = served
    found = asked(channel, "Info", SAID)(INFO(digest="d")).info
    assert (found.digest, dict(found.labels)) == ("d", {"namespace": "n", "lease": "l"})
    found = asked(channel, "Status", STATE)(STATUS(ref="r")).status
    assert (found.ref, found.offset in range(10, 21)) == ("r", True)
    assert service.threads == ["grpc", "grpc", "grpc_0"]


def test_errors_have_a_status_and_the_whole_text(served, caplog):
    _, channel, _ = served
    info = asked(channel, "Info", SAID)
    missing = refusal(lambda: info(INFO(digest="missing")))
    assert missing == ("NOT_FOUND", "blob 100 % »missing«: not found\nat all")
    assert refusal(lambda: info(INFO(digest="d"), metadata=()))[0] == "FAILED_PRECONDITION"
    assert refusal(lambda: info(INFO(digest="mistake"))) == ("UNKNOWN", "KeyError: 'nobody expected that'")
    assert "nobody expected that" in caplog.text


def test_what_is_not_served_or_cannot_be_read_is_said(served):
    _, channel, _ = served
    assert refusal(lambda: asked(channel, "Abort", EMPTY)(INFO(digest="d")))[0] == "UNIMPLEMENTED"
    nowhere = channel.unary_unary("/no.Service/Method", bytes, bytes)
    assert refusal(lambda: nowhere(b""))[0] == "UNIMPLEMENTED"
    raw = channel.unary_unary(f"/{Content.name}/Info", bytes, SAID.FromString)
    assert refusal(lambda: raw(b"\xff"))[0] == "INTERNAL"
    packed = {"compression": grpc.Compression.Gzip, "timeout": SECONDS}
    assert refusal(lambda: raw(b"\x0a\x7f" + b"a" * 127, **packed))[0] == "UNIMPLEMENTED"
    assert refusal(lambda: raw(bytes(MOST_MESSAGE + 1)))[0] == "RESOURCE_EXHAUSTED"


def test_messages_of_the_largest_size_go_both_ways(served):
    _, channel, _ = served
    size = MOST_MESSAGE - 100
    [piece] = asked(channel, "Read", PIECE, "unary_stream")(READ(size=1, offset=size))
    assert len(piece.data) == size
    write = asked(channel, "Write", WRITTEN, "stream_stream")
    found = list(write(iter([WRITE(data=b"w" * size), WRITE(data=b"w" * 7)])))
    assert [one.offset for one in found] == [size, 7]
    large = asked(channel, "Read", PIECE, "unary_stream")(READ(size=1, offset=MOST_MESSAGE))
    assert refusal(lambda: list(large))[0] == "RESOURCE_EXHAUSTED"


def test_many_messages_come_in_their_order(served):
    _, channel, _ = served
    found = asked(channel, "Read", PIECE, "unary_stream")(READ(size=5000, offset=100))
    assert [one.offset for one in found] == list(range(5000))


def test_a_client_that_goes_is_noticed_by_who_sends_and_by_who_waits(served):
    service, channel, _ = served
    read = asked(channel, "Read", PIECE, "unary_stream")(READ(size=10**9, offset=1000))
    next(read)
    read.cancel()
    assert service.over.wait(SECONDS)
    service.over.clear()
    ended = threading.Event()

    def requests() -> Iterator[Any]:
        yield WRITE(data=b"x")
        ended.wait(SECONDS)

    write = asked(channel, "Write", WRITTEN, "stream_stream")(requests())
    next(write)
    write.cancel()
    assert service.over.wait(SECONDS)
    ended.set()
    wait_until(lambda: service.gone == [GoneError])


def test_a_deadline_ends_a_call_for_both_sides(served):
    service, channel, _ = served
    delete = asked(channel, "Delete", EMPTY)
    assert refusal(lambda: delete(INFO(digest="d"), timeout=0.2))[0] == "DEADLINE_EXCEEDED"
    assert service.over.wait(SECONDS)


def test_who_does_not_read_is_not_sent_to_without_end(served):
    service, channel, path = served
    del channel
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as lazy:
        lazy.connect(str(path))
        headers = b"\x83\x04" + packed_path("Read") + b"\x0f\x10\x10application/grpc"
        body = READ(size=10**6, offset=1000).SerializeToString()
        lazy.sendall(PREFACE + framed(4, 0, 0, b"\0\4\x7f\xff\xff\xff") + framed(1, 4, 1, headers))
        lazy.sendall(framed(8, 0, 0, b"\x7f\xff\0\0"))
        lazy.sendall(framed(0, 1, 1, b"\0" + len(body).to_bytes(4, "big") + body))
        assert service.entered.wait(SECONDS)
        sent = -1
        while sent != service.sent:  # until it waits for us
            sent = service.sent
            time.sleep(0.2)
        assert 0 < sent < 10_000
    assert service.over.wait(SECONDS)


def test_others_are_served_beside_one_that_sends_garbage(served):
    _, channel, path = served
    for words in (b"GET / HTTP/1.1\r\n\r\n", PREFACE + b"\xff" * 9, PREFACE + framed(1, 4, 2, b"\x83")):
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as rude:
            rude.settimeout(SECONDS)
            rude.connect(str(path))
            rude.sendall(words)
            while rude.recv(4096):
                pass
    assert asked(channel, "Info", SAID)(INFO(digest="d")).info.digest == "d"


def test_what_is_no_grpc_gets_an_answer_of_http(served):
    _, _, path = served
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as curl:
        curl.settimeout(SECONDS)
        curl.connect(str(path))
        curl.sendall(PREFACE + framed(4, 0, 0, b"") + framed(1, 5, 1, b"\x82\x84"))
        found = b""
        while b"415" not in found:
            found += curl.recv(4096)


def test_connections_above_the_limit_wait_until_another_one_ends(tmp, monkeypatch):
    monkeypatch.setattr(loop, "MOST_PEERS", 2)
    server = serve(tmp / "s", [Content()], logging.getLogger("test"), lambda _call, _name: None)
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX))) for _ in range(3)]
        for peer in peers:
            peer.settimeout(SECONDS)
            peer.connect(str(tmp / "s"))
        assert peers[0].recv(9)
        assert peers[1].recv(9)
        peers[2].settimeout(0.3)
        with pytest.raises(TimeoutError):
            peers[2].recv(9)
        peers[0].close()
        peers[2].settimeout(SECONDS)
        assert peers[2].recv(9)
    server.stop(0.0)


def test_stopping_lets_calls_end_and_then_closes(tmp):
    service = Content()
    server = serve(tmp / "s", [service], logging.getLogger("test"), lambda _call, _name: None)
    with contextlib.closing(grpc.insecure_channel(f"unix:{tmp}/s")) as channel:
        delete = asked(channel, "Delete", EMPTY)
        pending = channel.unary_unary(f"/{Content.name}/Delete", bytes, EMPTY.FromString).future(b"")
        assert service.entered.wait(SECONDS)
        threading.Timer(0.1, service.over.set).start()
        server.stop(SECONDS)
        assert pending.result(SECONDS) == EMPTY()
        assert refusal(lambda: delete(INFO(digest="d")))[0] == "UNAVAILABLE"


def framed(kind: int, flags: int, number: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + number.to_bytes(4, "big") + body


def packed_path(method: str) -> bytes:
    path = f"/{Content.name}/{method}".encode()
    return bytes([len(path)]) + path


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
