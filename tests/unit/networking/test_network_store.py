"""The network store: who has which address and port, whatever order things happen in."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from storage.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from storage.networks import Endpoint, Network, NetworkStore, Port
from storage.networks.addresses import next_free


@pytest.fixture
def store(tmp):
    opened = NetworkStore(tmp / "networks.db", clock=lambda: 7)
    yield opened
    opened.close()


def _network(name="web", subnet="10.1.0.0/29", **more):
    gateway = subnet.partition("/")[0].removesuffix("0") + "1"
    return Network(name, "bridge", f"b-{name}", (subnet,), (gateway,), (subnet,), **more)


def _end(container, network="web", **more):
    return Endpoint(network, "ns", container, 0, **more)


def test_a_network_comes_back_as_it_was(store):
    made = store.create(_network(mtu=1400, internal=True, options={"a": [1]}, labels={"k": "v"}))
    assert store.get("web") == made
    assert (made.created_at, made.subnets, made.options) == (7, ("10.1.0.0/29",), {"a": [1]})
    with pytest.raises(AlreadyExistsError, match='network "web" already exists'):
        store.create(_network())
    with pytest.raises(NotFoundError, match='network "x" not found; see actr network ls'):
        store.get("x")


def test_addresses_are_given_in_turn_and_the_gateway_never(store):
    store.create(_network())
    given = [store.connect(_end(f"c{number}")).addresses for number in range(5)]
    assert given == [(f"10.1.0.{number}/29",) for number in range(2, 7)]
    with pytest.raises(FailedPreconditionError, match=r"no free address left in 10.1.0.0/29 \(5 are taken\)"):
        store.connect(_end("c5"))
    store.forget(_end("c3"))
    assert store.connect(_end("c5")).addresses == ("10.1.0.5/29",)


def test_a_backup_has_networks_and_who_is_on_them(store, tmp):
    made = store.create(_network())
    end = store.connect(_end("c"))
    store.backup(tmp / "copy.db")
    copy = NetworkStore(tmp / "copy.db")
    assert copy.networks() == (made,)
    assert copy.endpoints() == (end,)
    copy.close()


def test_connecting_again_gives_the_same_endpoint(store):
    store.create(_network())
    assert store.connect(_end("c", name="n", aliases=("x",), rate=5)) == store.connect(_end("c"))


def test_a_container_that_is_renamed_is_so_on_all_its_networks(store):
    store.create(_network())
    store.create(_network("db", "10.2.0.0/29"))
    ends = [
        store.connect(_end(one, network, name=one))
        for one, network in (("a", "web"), ("a", "db"), ("b", "web"))
    ]
    assert store.rename("ns", "a", "new") == 2
    assert [store.endpoint(*end.key).name for end in ends] == ["new", "new", "b"]
    assert store.rename("ns", "a", "new") == store.rename("ns", "c", "new") == 0


def test_an_end_that_is_asked_for_again_has_the_name_of_now(store):
    """Its container has been renamed while it was being prepared, or its actor died over that."""
    store.create(_network())
    store.connect(_end("a", name="web1"))
    assert store.connect(_end("a", name="web2")).name == "web2"
    assert store.endpoint(*_end("a").key).name == "web2"


def test_an_address_that_was_asked_for(store):
    store.create(_network())
    assert store.connect(_end("a", addresses=("10.1.0.4",))).addresses == ("10.1.0.4/29",)
    for address, said in (
        ("10.1.0.4", "is taken by container a"),
        ("10.1.0.1", "is not for containers"),
        ("10.1.0.0", "is not for containers"),
        ("10.1.0.7", "is not for containers"),
    ):
        with pytest.raises(AlreadyExistsError, match=said):
            store.connect(_end("b", addresses=(address,)))
    with pytest.raises(FailedPreconditionError, match=r"10.9.0.1 is not in network web"):
        store.connect(_end("b", addresses=("10.9.0.1",)))
    assert store.endpoints(container="b") == ()


def test_an_endpoint_that_goes_keeps_its_address_until_it_is_gone(store):
    store.create(_network(subnet="10.1.0.0/30"))
    end = store.connect(_end("a"))
    store.removing(end)
    with pytest.raises(FailedPreconditionError, match="no free address"):
        store.connect(_end("b"))
    with pytest.raises(FailedPreconditionError, match="being disconnected"):
        store.connect(_end("a"))
    store.forget(end)
    store.forget(end)
    assert store.connect(_end("b")).addresses == end.addresses


def test_a_network_in_use_stays(store):
    store.create(_network())
    end = store.connect(_end("a", name="web1"))
    with pytest.raises(FailedPreconditionError, match='network "web" is used by web1; disconnect'):
        store.delete("web")
    store.forget(end)
    store.delete("web")
    assert store.networks() == ()


def test_interfaces_are_numbered_for_each_container(store):
    store.create(_network())
    store.create(_network("db", "10.2.0.0/24"))
    store.create(_network("log", "10.3.0.0/24"))
    ends = [store.connect(_end("a", network)) for network in ("web", "db", "log")]
    assert [end.number for end in ends] == [0, 1, 2]
    store.forget(ends[1])
    assert store.connect(_end("a", "db")).number == 1


def test_ports_belong_to_one(store):
    mine = Port("tcp", "", 80, "ns", "a", 8080)
    store.publish(mine)
    store.publish(mine)
    for other in (Port("tcp", "", 80, "ns", "b", 1), Port("tcp", "127.0.0.1", 80, "ns", "a", 2)):
        with pytest.raises(AlreadyExistsError, match="port 80/tcp of the host is published by container a"):
            store.publish(other)
    store.publish(Port("udp", "", 80, "ns", "b", 1))
    store.publish(Port("tcp", "127.0.0.1", 81, "ns", "b", 1))
    store.publish(Port("tcp", "127.0.0.2", 81, "ns", "b", 1))
    assert store.ports(container="a") == (mine,)
    store.unpublish("ns", "a")
    assert store.ports(container="a") == ()


@pytest.mark.parametrize(
    ("within", "taken", "last", "found"),
    [
        ("10.0.0.0/29", (), "", "10.0.0.1"),
        ("10.0.0.0/29", ("10.0.0.1",), "10.0.0.1", "10.0.0.2"),
        ("10.0.0.0/29", ("10.0.0.1",), "10.0.0.6", "10.0.0.2"),
        ("10.0.0.4/30", ("10.0.0.5",), "", "10.0.0.4"),
        ("10.0.0.4/30", ("10.0.0.4", "10.0.0.5", "10.0.0.6"), "", "None"),
    ],
)
def test_the_next_free_address(within, taken, last, found):
    assert str(next_free("10.0.0.0/29", within, "", last, taken.__contains__)) == found


def test_the_next_free_address_of_a_huge_subnet_is_found_at_once():
    taken = [f"fd00::{number:x}" for number in range(1, 200)]
    assert str(next_free("fd00::/64", "fd00::/64", "fd00::c8", "", taken.__contains__)) == "fd00::c9"


class Addresses(RuleBasedStateMachine):
    """Connect, mark, forget, close and open again in any order: no address is ever two containers'."""

    def __init__(self):
        super().__init__()
        self.held = {}

    def _open(self):
        if not hasattr(self, "store"):
            self.directory = tempfile.TemporaryDirectory(dir="/dev/shm")
            self.path = Path(self.directory.name) / "n.db"
            self.store = NetworkStore(self.path)
            self.store.create(_network())
        return self.store

    @rule(name=st.sampled_from("abcdefgh"))
    def connect(self, name):
        try:
            self.held[name] = self._open().connect(_end(name)).addresses[0]
        except FailedPreconditionError:
            assert len(self._open().endpoints()) == 5 or self._open().endpoint("web", "ns", name).removing

    @rule(name=st.sampled_from("abcdefgh"))
    def remove(self, name):
        self._open().removing(_end(name))

    @rule(name=st.sampled_from("abcdefgh"))
    def forget(self, name):
        self._open().forget(_end(name))
        self.held.pop(name, None)

    @rule()
    def crash(self):
        self._open().close()
        self.store = NetworkStore(self.path)

    @invariant()
    def nobody_shares(self):
        found = {end.container: end.addresses[0] for end in self._open().endpoints()}
        assert found == self.held
        assert len(set(found.values())) == len(found)

    def teardown(self):
        if hasattr(self, "store"):
            self.store.close()
            self.directory.cleanup()


TestAddresses = Addresses.TestCase
TestAddresses.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
