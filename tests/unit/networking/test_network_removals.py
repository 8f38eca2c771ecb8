"""Networks and ends that are being removed while somebody else wants the same, or wants them anew."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from actors import messages as m
from actors.network import REMOVAL_PAUSE, NetworkActor
from storage.errors import FailedPreconditionError
from storage.networks import Endpoint, Network, NetworkStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _Network(NetworkActor):
    """Whose work, timers and rules wait for the test."""

    def __init__(self, place: Path) -> None:
        self._store, self._directory = NetworkStore(place / "networks.db"), place
        self._wiring = SimpleNamespace()
        self._jobs: dict[str, deque[Any]] = {}
        self._going, self._made = set(), set()
        self.at_work: list[Any] = []
        self.timers: list[Any] = []
        self.announced: list[str] = []

    def work(self, _function: Any, then: Any) -> None:
        self.at_work.append(then)

    def later(self, seconds: float, function: Any) -> None:
        assert seconds == REMOVAL_PAUSE
        self.timers.append(function)

    def _announce(self, verb: str, name: str) -> None:
        self.announced.append(f"{verb} {name}")

    def _load_rules(self, then: Any) -> None:
        then({})

    def _logged(self, result: Any) -> None:
        pass


@pytest.fixture
def network(tmp_path: Path) -> Iterator[_Network]:
    made = _Network(tmp_path)
    made._store.create(Network("web", "bridge", "b1", ("10.9.0.0/24",), ("10.9.0.1",), ("10.9.0.0/24",)))
    yield made
    made._store.close()


def test_a_removal_that_is_under_way_is_not_begun_again(network: _Network):
    answers: list[Any] = []
    call: Any = SimpleNamespace(settle=answers.append)
    network.network_remove(m.NetworkRemove("web"), call)
    with pytest.raises(FailedPreconditionError, match="network web is being removed"):
        network.network_remove(m.NetworkRemove("web"), call)
    network.network_prune(m.NetworkPrune(), call)
    removed, pruned = network.at_work
    removed(None)
    pruned(None)  # which would be the end of the actor
    assert answers == [{}, {"removed": []}]
    assert network.announced == ["delete web"]


def test_an_end_that_is_wanted_anew_is_not_removed_with_the_old_one(network: _Network):
    wanted = Endpoint("web", "n", "c", 0)
    old = network._store.connect(wanted)
    network._finish_removal(old)
    network.at_work.pop()(OSError("busy"))
    (again,) = network.timers
    network._store.forget(old)  # its container has had it removed
    network._store.connect(wanted)
    again()
    now = network._store.endpoint(*old.key)
    assert now is not None
    assert not now.removing
    assert network.at_work == []


def test_an_end_that_nobody_removes_is_tried_again(network: _Network):
    old = network._store.connect(Endpoint("web", "n", "c", 0))
    network._finish_removal(old)
    network.at_work.pop()(OSError("busy"))
    network.timers.pop()()
    network.at_work.pop()(None)
    assert network._store.endpoint(*old.key) is None
    assert network.timers == []
