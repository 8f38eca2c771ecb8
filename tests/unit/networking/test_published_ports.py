"""Who is refused a port of the host takes nothing from the container that has it."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from actors.network import NetworkActor
from actors.networking import publishing, wishes
from storage.errors import AlreadyExistsError, FailedPreconditionError
from storage.networks import NetworkStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "127.0.0.1"


@pytest.fixture
def network(tmp_path: Path) -> Iterator[NetworkActor]:
    """As much of it as ports need."""
    made = NetworkActor.__new__(NetworkActor)
    made._store, made._held = NetworkStore(tmp_path / "networks.db"), publishing.Held()
    yield made
    for port in made._store.ports():
        made._held.free(port)
    made._store.close()


def _publish(network: NetworkActor, container: str, *ports: tuple[int, int]) -> list[int]:
    wanted = [{"host": HOST, "host_port": number, "container_port": inside} for number, inside in ports]
    wish = wishes.parse({"networks": [{"network": "bridge"}], "ports": wanted})
    with network._store.transaction():
        return [port.host_port for port in network._publish("n", container, wish)]


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
