"""The server of containerd's API: how many calls it takes upon itself."""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from transport.grpc import server
from transport.grpc.interface import message
from transport.grpc.server import Answer, Call, Service, answers_later

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HEALTH = "grpc.health.v1.Health"
LIMIT = 30.0  # seconds that no call needs


class Health(Service):
    """Checks are answered once they may be; whoever watches is answered at once, and waits for more."""

    name = HEALTH

    def __init__(self) -> None:
        self.may = threading.Event()
        self.limits: list[float] = []  # of each call

    def check(self, _request: Any, call: Call) -> Any:
        self.limits.append(call.limit)
        self.may.wait(LIMIT)
        return message(f"{HEALTH.rpartition('.')[0]}.HealthCheckResponse")(status=1)

    @answers_later
    def watch(self, _request: Any, _: Call, answer: Answer) -> None:
        answer.begin(message(f"{HEALTH.rpartition('.')[0]}.HealthCheckResponse")(status=1))


@pytest.fixture
def health(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Health, grpc.Channel]]:
    """A server with two threads, for whose turn one call may wait, and a client of it."""
    monkeypatch.setattr(server, "WORKERS", 2)
    monkeypatch.setattr(server, "WAITING", 1)
    service = Health()
    started = server.serve(tmp / "socket", [service], logging.getLogger("test"), lambda *_: None)
    with grpc.insecure_channel(f"unix:{tmp / 'socket'}") as channel:
        yield service, channel
    service.may.set()
    started.stop(0).wait(LIMIT)


def _method(kind: Callable[..., Any], name: str) -> Any:
    asked, answer = (message(f"grpc.health.v1.HealthCheck{part}") for part in ("Request", "Response"))
    return kind(f"/{HEALTH}/{name}", lambda _: asked().SerializeToString(), answer.FromString)


def test_calls_that_nobody_has_a_thread_for_are_not_piled_up(health: tuple[Health, grpc.Channel]):
    service, channel = health
    check = _method(channel.unary_unary, "Check")
    asked = [check.future(None, timeout=LIMIT) for _ in range(8)]
    done: queue.SimpleQueue[grpc.Future] = queue.SimpleQueue()
    for one in asked:
        one.add_done_callback(done.put)
    refused = [done.get(timeout=LIMIT) for _ in range(5)]
    assert {one.code().name for one in refused} == {"RESOURCE_EXHAUSTED"}
    service.may.set()
    assert [one.result().status for one in asked if one not in refused] == [1] * 3


def test_those_who_wait_without_a_thread_do_not_count(health: tuple[Health, grpc.Channel]):
    watch = _method(health[1].unary_stream, "Watch")
    watches = []
    for _ in range(8):
        watches.append(watch(None, timeout=LIMIT))
        assert next(watches[-1]).status == 1


def test_how_long_a_call_may_last(health: tuple[Health, grpc.Channel]):
    service, channel = health
    service.may.set()
    check = _method(channel.unary_unary, "Check")
    for limit in (None, 1e6, LIMIT):
        check(None, timeout=limit)
    assert service.limits[:2] == [server.LONGEST] * 2
    assert 0 < service.limits[2] < LIMIT + 1  # what is left travels with three digits, rounded up
