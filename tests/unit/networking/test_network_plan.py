"""What becomes of a wish for a network, and which are refused."""

import re

import pytest

from actors.networking.plan import Wish, interface_name, plan
from storage.errors import FailedPreconditionError, InvalidArgumentError


def _plan(wish, networks=(), routes=()):
    return plan(wish, "scope", networks, routes)


def test_what_is_not_said_is_chosen():
    found = _plan(Wish("web"))
    assert (found.subnets, found.gateways, found.ranges) == (
        ("10.89.0.0/24",),
        ("10.89.0.1",),
        ("10.89.0.0/24",),
    )
    assert re.fullmatch(r"b[0-9a-f]{11}", found.interface)
    assert found.interface == interface_name("b", "scope", "web") != interface_name("b", "other", "web")


def test_the_next_free_subnet_is_beside_networks_and_routes():
    first = _plan(Wish("a"))
    assert _plan(Wish("b"), [first], ["10.89.1.0/24", "10.89.2.128/25"]).subnets == ("10.89.3.0/24",)
    with pytest.raises(FailedPreconditionError, match=r"no free subnet is left in 10.89.0.0/16; say one"):
        _plan(Wish("c"), [], ["10.0.0.0/8"])


def test_both_versions_of_ip():
    found = _plan(Wish("web", ipv6=True))
    assert [":" in one for one in found.subnets] == [False, True]
    assert found.subnets[1].startswith("fd")
    assert found.subnets[1].endswith("/64")
    assert _plan(Wish("web", ipv6=True)) == found
    assert _plan(Wish("w", subnets=("fd01::/64", "10.1.0.0/24"))).gateways == ("10.1.0.1", "fd01::1")


def test_gateway_and_range_that_were_asked_for():
    found = _plan(Wish("w", subnets=("10.1.0.0/24",), gateways=("10.1.0.254",), ranges=("10.1.0.128/26",)))
    assert (found.gateways, found.ranges) == (("10.1.0.254",), ("10.1.0.128/26",))


def test_a_macvlan_stands_on_its_parent_and_may_lie_on_a_route():
    found = _plan(Wish("m", "macvlan", ("192.0.2.0/24",), parent="eth0"), (), ["192.0.2.0/24"])
    assert (found.interface, found.gateways) == ("eth0", ())


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish("host"), "network name host has a meaning of its own"),
        (Wish("a/b"), "network 'a/b' is not valid"),
        (Wish("a", "token"), "network kind 'token' is none of bridge"),
        (Wish("a", subnets=("10.0.0.1/24",)), "subnet '10.0.0.1/24' is not valid: .* has host bits set"),
        (Wish("a", subnets=("x",)), "subnet 'x' is not valid"),
        (Wish("a", subnets=("10.0.0.0/30",)), "subnet 10.0.0.0/30 is too small"),
        (Wish("a", subnets=("127.0.0.0/24",)), "subnet 127.0.0.0/24 cannot be used"),
        (Wish("a", subnets=("224.0.0.0/24",)), "cannot be used"),
        (Wish("a", subnets=("0.0.0.0/0",)), "cannot be used"),
        (Wish("a", gateways=("10.1.0.1",)), "gateway 10.1.0.1 is in none of 10.89.0.0/24"),
        (Wish("a", gateways=("x",)), "address 'x' is not valid"),
        (Wish("a", ranges=("10.1.0.0/25",)), "range 10.1.0.0/25 is in none of"),
        (Wish("a", mtu=100), "mtu 100 is not between 576 and 65535"),
        (Wish("a", mtu=600, ipv6=True), "mtu 600 is not between 1280 and 65535"),
        (Wish("a", parent="eth0"), "a bridge network has no parent interface"),
        (Wish("a", options={"vni": 1}), "option vni is unknown to a bridge network, which has: none"),
        (Wish("a", "vxlan"), "wants option vni, a number from 1 to 16777215"),
        (Wish("a", "vxlan", options={"vni": 1, "remotes": ["x"]}), "address 'x' is not valid"),
        (Wish("a", "macvlan"), "wants the name of a parent interface, not ''"),
        (Wish("a", "macvlan", parent="eth0"), "wants the subnet of its parent"),
        (Wish("a", "macvlan", ("10.1.0.0/24",), parent="e", options={"mode": "x"}), "mode 'x' is none"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_name(wish, said):
    with pytest.raises(InvalidArgumentError, match=said):
        _plan(wish)


def test_an_overlap_names_who_has_it():
    first = _plan(Wish("first", subnets=("10.1.0.0/16",)))
    with pytest.raises(
        FailedPreconditionError, match=r"10.1.2.0/24 overlaps with 10.1.0.0/16, which is network first"
    ):
        _plan(Wish("a", subnets=("10.1.2.0/24",)), [first])
    with pytest.raises(FailedPreconditionError, match="which is a route of this host"):
        _plan(Wish("a", subnets=("10.1.2.0/24",)), (), ["10.1.2.0/25"])
    with pytest.raises(FailedPreconditionError, match="which is network first"):
        _plan(Wish("m", "macvlan", ("10.1.2.0/24",), parent="eth0"), [first])
