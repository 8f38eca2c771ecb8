"""The rules as text: read by the real nft in a namespace of its own, and published ports behind them."""

import shutil

import pytest

from actors.linux import nft
from actors.linux.threads import CLONE_NEWNET, in_own_thread
from actors.networking import publishing
from actors.networking.rules import Bridge, Published, ruleset
from storage.errors import FailedPreconditionError, InvalidArgumentError
from storage.networks import Endpoint, Network, Port

BRIDGES = [Bridge("b0", ("10.1.0.0/24", "fd01::/64")), Bridge("b1", ("10.2.0.0/24",), internal=True)]
PORTS = [
    Published("tcp", "", 80, "10.1.0.2", 8080),
    Published("tcp", "", 80, "fd01::2", 8080),
    Published("udp", "192.0.2.1", 53, "10.1.0.2", 53),
    Published("tcp", "2001:db8::1", 443, "fd01::2", 443),
]


def _loaded(*texts):
    """What the kernel has after each of these, in a network namespace of their own."""

    def work():
        found = []
        for text in texts:
            nft.load(text)
            found.append(nft.table("t"))
        return found

    return in_own_thread(CLONE_NEWNET, work)


@pytest.mark.root
def test_the_kernel_takes_them_and_replaces_the_table_by_itself():
    full, again, less, none = _loaded(
        ruleset("t", BRIDGES, PORTS),
        ruleset("t", BRIDGES, PORTS),
        ruleset("t", BRIDGES[:1], []),
        ruleset("t", [], []),
    )
    assert full == again != less
    for part in (
        "6 . 80 : 10.1.0.2 . 8080",
        "17 . 192.0.2.1 . 53 : 10.1.0.2 . 53",
        "fd01::2 . 443",
        '"b0" . "b0"',
    ):
        assert part in full
        assert part == '"b0" . "b0"' or part not in less
    assert "10.2.0.0/24" not in full, "an internal network must not be masqueraded"
    assert none == ""


@pytest.mark.root
def test_a_refused_script_changes_nothing_and_says_why():
    def work():
        nft.load(ruleset("t", BRIDGES, PORTS))
        before = nft.table("t")
        with pytest.raises(nft.FilterError, match=r"nft: .*syntax error"):
            nft.load("delete table inet t\nnonsense")
        return before == nft.table("t") != ""

    assert in_own_thread(CLONE_NEWNET, work)


def test_a_missing_nft_names_the_package(monkeypatch):
    monkeypatch.setattr(nft, "PROGRAM", "no-such-nft")
    assert shutil.which("no-such-nft") is None
    with pytest.raises(nft.FilterError, match="apt-get install nftables"):
        nft.load("")


NETWORKS = [
    Network("web", "bridge", "b0"),
    Network("in", "bridge", "b1", internal=True),
    Network("lan", "macvlan", "e"),
]


def _behind(port, *ends):
    return [(one.host, one.address) for one in publishing.behind([port], ends, NETWORKS)]


def test_who_is_behind_a_port():
    port = Port("tcp", "", 80, "ns", "a", 80)
    web = Endpoint("web", "ns", "a", 1, ("10.1.0.2/24", "fd01::2/64"))
    inner = Endpoint("in", "ns", "a", 0, ("10.2.0.2/24",))
    assert _behind(port, inner, web) == [("", "10.1.0.2"), ("", "fd01::2")]
    assert _behind(Port("tcp", "::1", 80, "ns", "a", 80), web) == [("::1", "fd01::2")]
    assert _behind(Port("tcp", "", 80, "ns", "b", 80), web) == []
    assert _behind(port, inner, Endpoint("lan", "ns", "a", 2, ("192.0.2.7/24",))) == []
    assert _behind(port, Endpoint("web", "ns", "a", 0, ("10.1.0.2/24",), removing=True)) == []


def test_a_port_is_held_and_let_go():
    held = publishing.Held()
    wanted = Port("tcp", "127.0.0.1", 0, "ns", "a", 80)
    number = held.any(wanted, [])
    port = Port("tcp", "127.0.0.1", number, "ns", "a", 80)
    held.take(port)
    with pytest.raises(FailedPreconditionError, match=rf"port 127.0.0.1:{number}/tcp is in use on this host"):
        publishing.Held().take(port)
    held.free(port)
    held.free(port)
    other = publishing.Held()
    other.take(port)
    other.free(port)


def test_an_address_that_is_not_ours_is_named():
    with pytest.raises(FailedPreconditionError, match=r"port 203.0.113.9:80/udp cannot be published"):
        publishing.Held().take(Port("udp", "203.0.113.9", 80, "ns", "a", 80))


@pytest.mark.parametrize(
    ("port", "said"),
    [
        (Port("sctp", "", 1, "", "", 1), "protocol 'sctp' is neither tcp nor udp"),
        (Port("tcp", "", 70000, "", "", 1), "is not from 1 to 65535"),
        (Port("tcp", "", 1, "", "", 0), "is not from 1 to 65535"),
        (Port("tcp", "x", 1, "", "", 1), "host address 'x' of a port is not valid"),
    ],
)
def test_ports_that_make_no_sense(port, said):
    with pytest.raises(InvalidArgumentError, match=said):
        publishing.check(port)
