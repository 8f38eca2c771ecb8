"""The server of the metrics: what clients do to it costs neither its slots nor the daemon's log."""

from __future__ import annotations

import logging
import socket
import socketserver
import struct
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from actors import metrics
from actors.metrics import MetricsActor
from actors.metrics_server import AT_ONCE, QuietHandler, Server
from transport.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: the end is a reset


def application(_environ: Any, start_response: Any) -> list[bytes]:
    raise ValueError("an error of ours")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(QuietHandler, "timeout", 0.05)
    made = Server(("127.0.0.1", 0), QuietHandler)
    made.set_app(application)
    serving = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    yield made
    made.shutdown()
    serving.join()
    made.server_close()


@pytest.mark.parametrize(("said", "port"), [("9400", 9400), ("", 0), ("94x", 0), ("70000", 0), (None, 0)])
def test_a_note_that_makes_no_sense_leaves_the_choice_of_a_port(tmp_path: Path, said: str | None, port: int):
    """No daemon comes up without its metrics actor."""
    if said is not None:
        (tmp_path / "metrics.port").write_text(said)
    assert metrics._noted(tmp_path / "metrics.port") == port


def until_closed(server: Server, said: bytes = b"") -> bytes:
    with socket.create_connection(server.server_address[:2], 20) as client:
        client.sendall(said)
        return b"".join(iter(lambda: client.recv(4096), b""))


def reset(server: Server) -> None:
    with socket.create_connection(server.server_address[:2], 20) as client:
        client.sendall(b"GET")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def until_idle(server: Server) -> None:
    for _ in range(AT_ONCE):
        assert server._room.acquire(timeout=20)
    for _ in range(AT_ONCE):
        server._room.release()


def test_clients_that_go_away_or_say_nothing_are_no_news(server: Server, capfd: Any, caplog: Any):
    """Nor would a traceback as the interpreter prints it be a line of JSON, where those are wanted."""
    assert until_closed(server) == b""
    reset(server)
    until_idle(server)
    assert capfd.readouterr().err == ""
    assert caplog.text == ""


def test_an_error_of_ours_is_in_the_log_as_all_others_are(server: Server, capfd: Any, caplog: Any):
    caplog.set_level(logging.ERROR)
    assert b"500" in until_closed(server, b"GET / HTTP/1.0\r\n\r\n")
    until_idle(server)
    assert capfd.readouterr().err == ""
    assert "an error of ours" in caplog.text


def test_a_request_for_which_there_is_no_thread_keeps_no_slot(monkeypatch: pytest.MonkeyPatch):
    def refused(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    with Server(("127.0.0.1", 0), QuietHandler) as server:
        monkeypatch.setattr(socketserver.ThreadingMixIn, "process_request", refused)
        for _ in range(AT_ONCE + 1):
            with pytest.raises(RuntimeError):
                server.process_request(None, None)


def test_of_all_nodes_without_word_of_who_they_are(monkeypatch: pytest.MonkeyPatch):
    def nobody() -> dict[str, str | None]:
        raise RemoteError("unavailable", "actor nodes is starting")

    monkeypatch.setattr(metrics, "CollectorRegistry", lambda: SimpleNamespace(register=lambda _: None))
    monkeypatch.setattr(metrics, "Stores", lambda _: None)
    settings = SimpleNamespace(metrics_page=False)
    actor: Any = SimpleNamespace(_transfers=None, settings=settings, _everywhere=nobody)
    said: list[Any] = []
    environ = {"PATH_INFO": "/metrics", "QUERY_STRING": "nodes=all", "REQUEST_METHOD": "GET"}
    body = MetricsActor._application(actor)(environ, lambda status, _: said.append(status))
    assert said == ["503 Service Unavailable"]
    assert body == [b"actor nodes is starting\n"]
