"""Networks and ends that are being removed while somebody else wants the same, or wants them anew."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from actors import messages as m
from actors.network import NetworkActor
from actors.networking.in_order import InOrder
from actors.networking.networks import Networks
from actors.networking.removals import AGAIN, RAREST, Removals
from storage.errors import FailedPreconditionError
from storage.networks import Endpoint, Network, NetworkStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _Network(NetworkActor):
    """Whose work, timers and rules wait for the test."""

    def __init__(self, place: Path) -> None:
        self._store, self._directory = NetworkStore(place / "networks.db"), place
        self._wiring: Any = SimpleNamespace()
        self._in_order = InOrder(self.work)
        self._table: Any = SimpleNamespace(load=lambda then: then({}))
        self._networks = Networks(self._store, self._wiring, self.work)
        self._removals = Removals(self._store, self._wiring, self._path, self._in_order.do, self.later)
        self.at_work: list[Any] = []
        self.timers: list[Any] = []
        self.pauses: list[float] = []
        self.announced: list[str] = []

    def work(self, _function: Any, then: Any) -> None:
        self.at_work.append(then)

    def later(self, seconds: float, function: Any) -> None:
        self.pauses.append(seconds)
        self.timers.append(function)

    def _announce(self, verb: str, name: str) -> None:
        self.announced.append(f"{verb} {name}")

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
    assert answers == [{}, {"removed": [], "left": []}]
    assert network.announced == ["delete web"]


def test_an_end_that_is_wanted_anew_is_not_removed_with_the_old_one(network: _Network):
    wanted = Endpoint("web", "n", "c", 0)
    old = network._store.connect(wanted)
    network._removals.remove(old)
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
    network._removals.remove(old)
    network.at_work.pop()(OSError("busy"))
    network.timers.pop()()
    network.at_work.pop()(None)
    assert network._store.endpoint(*old.key) is None
    assert network.timers == []


def test_an_end_that_is_refused_is_tried_ever_less_often_by_one_timer(network: _Network):
    old = network._store.connect(Endpoint("web", "n", "c", 0))
    network._removals.remove(old)
    for _ in range(8):
        network.at_work.pop()(FailedPreconditionError("not now"))
        network._removals.remove(old)  # whoever asks in between does not have it tried more often
        network.at_work.pop()(FailedPreconditionError("not now"))
        (due,) = network.timers
        network.timers.clear()
        due()
    assert network.pauses == [min(RAREST, AGAIN * 2**number) for number in range(8)]


def test_an_end_that_is_wanted_anew_outlives_a_late_removal_of_the_old_one(network: _Network):
    wanted = Endpoint("web", "n", "c", 0)
    old = network._store.connect(wanted)
    network._removals.remove(old)
    (removed,) = network.at_work
    network._store.forget(old)  # its container was faster
    network._store.connect(wanted)
    removed(None)
    assert network._store.endpoint(*old.key) is not None


def test_a_network_that_ends_are_left_of_is_kept_and_says_so(network: _Network):
    old = network._store.connect(Endpoint("web", "n", "c", 0, name="a"))
    network._removals.remove(old)
    network.at_work.pop()(FailedPreconditionError("cni plugin x DEL: no"))
    (found,) = network._removals.findings()
    assert found["object"] == "container a on network web"
    assert "address 10.9.0.2/24 and what else it was given: cni plugin x DEL: no" in found["problem"]
    call: Any = SimpleNamespace(settle=lambda _: None)
    with pytest.raises(FailedPreconditionError, match="has what a had of it, which is still to be removed"):
        network.network_remove(m.NetworkRemove("web"), call)


def test_pruning_tries_what_was_refused_first(network: _Network):
    answers: list[Any] = []
    old = network._store.connect(Endpoint("web", "n", "c", 0, name="a"))
    network._removals.remove(old)
    network.at_work.pop()(FailedPreconditionError("no"))
    call: Any = SimpleNamespace(settle=answers.append)
    network.network_prune(m.NetworkPrune(), call)
    network.at_work.pop()(FailedPreconditionError("still no"))
    network.at_work.pop()(None)
    assert answers[-1]["removed"] == []
    assert "still no" in answers[-1]["left"][0]
    network.network_prune(m.NetworkPrune(), call)
    network.at_work.pop()(None)
    network.at_work.pop()(None)
    assert answers[-1] == {"removed": ["web"], "left": []}
