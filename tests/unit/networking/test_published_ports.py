"""Who is refused a port of the host takes nothing from the container that has it."""

from __future__ import annotations

import contextlib
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from actors import messages as m
from actors.network import NetworkActor
from actors.networking import publishing
from actors.networking.in_order import InOrder
from actors.networking.networks import Networks
from actors.networking.removals import Removals
from storage.errors import AlreadyExistsError, FailedPreconditionError, UnavailableError
from storage.networks import Network, NetworkStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "127.0.0.1"


@pytest.fixture
def network(tmp_path: Path) -> Iterator[NetworkActor]:
    """As much of it as ports need."""
    made = NetworkActor.__new__(NetworkActor)
    made._store, made._held = NetworkStore(tmp_path / "networks.db"), publishing.Held()
    made._store.create(Network("bridge", "bridge", "b1", ("10.9.0.0/24",), ("10.9.0.1",), ("10.9.0.0/24",)))
    made._directory = tmp_path
    made._in_order = InOrder(lambda *_: None)  # what is recorded is made elsewhere
    wiring: Any = SimpleNamespace()
    made._networks = Networks(made._store, wiring, lambda *_: None)
    made._removals = Removals(made._store, wiring, made._path, made._in_order.do, lambda *_: None)
    yield made
    for port in made._store.ports():
        made._held.free(port)
    made._store.close()


def _publish(network: NetworkActor, container: str, *ports: tuple[int, int]) -> list[int]:
    wanted = [{"host": HOST, "host_port": number, "container_port": inside} for number, inside in ports]
    wish = {"networks": [{"network": "bridge"}], "ports": wanted}
    network.network_attach(m.NetworkAttach("n", container, container, wish), SimpleNamespace())  # type: ignore[arg-type]
    return [port.host_port for port in network._store.ports(container=container)]


def _is_bound(number: int) -> bool:
    with contextlib.closing(socket.socket()) as other:
        try:
            other.bind((HOST, number))
        except OSError:
            return True
        return False


def test_the_port_of_another_container_stays_bound(network: NetworkActor):
    (number,) = _publish(network, "a", (0, 80))
    assert _is_bound(number)
    with pytest.raises(AlreadyExistsError, match="published by container a already"):
        _publish(network, "b", (number, 80))
    assert _is_bound(number)


def test_of_a_container_that_is_refused_one_port_none_stays_bound(network: NetworkActor):
    with contextlib.closing(socket.socket()) as program:
        program.bind((HOST, 0))
        (free,) = _publish(network, "a", (0, 80))
        network._held.free(network._store.ports()[0])
        network._store.unpublish("n", "a")
        with pytest.raises(FailedPreconditionError, match="is in use on this host"):
            _publish(network, "b", (free, 80), (program.getsockname()[1], 81))
    assert not _is_bound(free)
    assert network._store.ports() == ()


def test_nothing_stays_bound_if_it_cannot_be_put_on_record(
    network: NetworkActor, monkeypatch: pytest.MonkeyPatch
):
    execute, taken = network._store._database.execute, []

    def full(statement: str, *values: object) -> object:
        if statement == "COMMIT":
            taken.extend(address[2] for address in network._held._sockets)
            raise UnavailableError("the disk is full")
        return execute(statement, *values)

    monkeypatch.setattr(network._store._database, "execute", full)
    with pytest.raises(UnavailableError, match="the disk is full"):
        _publish(network, "a", (0, 80))
    assert [_is_bound(number) for number in taken] == [False]
    assert network._store.ports() == ()


def test_a_port_found_for_one_that_is_refused_another_does_not_stay_bound(
    network: NetworkActor, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(publishing, "TRIES", 1)
    with contextlib.closing(socket.socket()) as program:
        program.bind((HOST, 0))
        with contextlib.closing(socket.socket()) as other:
            other.bind((HOST, 0))
            free = other.getsockname()[1]
        numbers = iter([[free], [program.getsockname()[1]]])
        monkeypatch.setattr("actors.networking.publishing.random.sample", lambda *_: next(numbers))
        with pytest.raises(FailedPreconditionError, match="no free port found"):
            _publish(network, "a", (0, 80), (0, 81))
    assert not _is_bound(free)
