"""What a container's options may say about networks, from the command line to the actor."""

import pytest

from actors.networking import names, wishes
from cli import networking
from cli.create import COMMAND
from cli.options import Given, UsageError, parse_command
from storage.errors import FailedPreconditionError, InvalidArgumentError
from storage.networks import Endpoint, Network


def _asked(*words):
    given = Given()
    parse_command(COMMAND, [*words, "image"], given)
    return networking.asked(given)


@pytest.mark.parametrize(
    ("words", "wish"),
    [
        ((), {}),
        (("--net", "none"), {}),
        (("--net", "host"), {"mode": "host"}),
        (("--net", "container:x"), {"mode": "container:x"}),
        (("--network", "web"), {"networks": [{"network": "web"}]}),
        (
            ("--net", "web,ip=10.0.0.5,ip6=fd::5,mac=02:00:00:00:00:01,alias=db,rate=2m",
             "--network-alias", "x"),
            {"networks": [{"network": "web", "addresses": ["10.0.0.5", "fd::5"], "mac": "02:00:00:00:00:01",
                           "aliases": ["x", "db"], "rate": 2_000_000}]},
        ),
        (("--dns", "9.9.9.9", "--add-host", "a:10.0.0.1"),
         {"dns": ["9.9.9.9"], "hosts": [("10.0.0.1", "a")]}),
    ],
)  # fmt: skip
def test_networks_on_the_command_line(words, wish):
    assert _asked(*words) == wish
    wishes.parse(wish)


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", [(80, 0, "tcp", "")]),
        ("8080:80", [(80, 8080, "tcp", "")]),
        ("8080:80/udp", [(80, 8080, "udp", "")]),
        ("127.0.0.1:8080:80", [(80, 8080, "tcp", "127.0.0.1")]),
        ("127.0.0.1::80", [(80, 0, "tcp", "127.0.0.1")]),
        ("127.0.0.1:80", [(80, 0, "tcp", "127.0.0.1")]),
        ("[::1]:8080:80", [(80, 8080, "tcp", "::1")]),
        ("9000-9001:80-81", [(80, 9000, "tcp", ""), (81, 9001, "tcp", "")]),
    ],
)
def test_ports_on_the_command_line(text, ports):
    found = [
        (one["container_port"], one["host_port"], one["protocol"], one["host"])
        for one in networking.published(text)
    ]
    assert found == ports
    assert _asked("-p", text)["networks"] == [{"network": "bridge"}]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-p", "x"), "--publish wants"),
        (("-p", "80-70"), "ports are from 1 to 65535"),
        (("-p", "1-5000"), "at most 1024 in one range"),
        (("-p", "70000"), "ports are from 1 to 65535"),
        (("-p", "1-2:1-3"), "two ranges are not of the same length"),
        (("--net", "host", "-p", "80"), "goes with no other network and no --publish"),
        (("--net", "host", "--net", "web"), "goes with no other network"),
        (("--net", "web,speed=1"), "'speed=1' is none of ip="),
        (("--net", "web,rate=fast"), "a rate is bytes per second"),
        (("--add-host", "x"), "--add-host wants NAME:ADDRESS"),
    ],
)
def test_mistakes_on_the_command_line(words, said):
    with pytest.raises(UsageError, match=said):
        _asked(*words)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"mode": "x"}, "network mode 'x' is none of host, container:ID"),
        ({"mode": "host", "ports": [{"container_port": 1}]}, "no networks or ports can be given"),
        ({"networks": [{}] * 33}, "at most 32 networks"),
        ({"ports": [{"container_port": 1}]}, "ports are published from a network; name one"),
        ({"speed": 1}, "unknown field speed"),
        ({"networks": "web"}, "Expected `array`"),
    ],
)
def test_wishes_that_make_no_sense(wish, said):
    with pytest.raises(InvalidArgumentError, match=said):
        wishes.parse(wish)


def test_names_that_the_resolver_knows():
    web = Network("web", "bridge", "b0", ("10.1.0.0/24",), ("10.1.0.1",))
    ends = [
        Endpoint("web", "ns", "a" * 64, 0, ("10.1.0.2/24",), name="One", aliases=("db",)),
        Endpoint("web", "ns", "b" * 64, 0, ("10.1.0.3/24",), name="two", aliases=("db",)),
        Endpoint("web", "ns", "c" * 64, 0, ("10.1.0.4/24",), name="gone", removing=True),
        Endpoint("lan", "ns", "d" * 64, 0, ("10.2.0.4/24",), name="elsewhere"),
    ]
    assert names.zones([web, Network("lan", "macvlan", "e")], ends) == [
        {"network": "web", "listen": ["10.1.0.1"], "names": {
            "one": ["10.1.0.2"], "a" * 12: ["10.1.0.2"], "two": ["10.1.0.3"], "b" * 12: ["10.1.0.3"],
            "db": ["10.1.0.2", "10.1.0.3"]}, "others": {}}
    ]  # fmt: skip


def test_where_else_names_are_known_for_one_on_several_networks():
    networks = [Network(one, "bridge", one, (), (f"10.{n}.0.1",)) for n, one in enumerate(("web", "db", "x"))]
    ends = [
        Endpoint("web", "ns", "a", 0, ("10.0.0.2/24",)),
        Endpoint("db", "ns", "a", 1, ("10.1.0.2/24",)),
        Endpoint("lan", "ns", "a", 2, ("10.9.0.2/24",)),
        Endpoint("x", "ns", "a", 3, ("10.2.0.2/24",), removing=True),
        Endpoint("db", "other", "a", 0, ("10.1.0.3/24",)),
    ]
    zones = names.zones([*networks, Network("lan", "macvlan", "e")], ends)
    assert [zone["others"] for zone in zones] == [{"10.0.0.2": ["10.1.0.1"]}, {"10.1.0.2": ["10.0.0.1"]}, {}]


def test_a_connection_is_remembered_once_and_forgotten():
    wish = {"networks": [{"network": "web"}], "dns": ["9.9.9.9"]}
    more = wishes.connections(wish, "db", {"aliases": ["x"]})
    assert more == {**wish, "networks": [{"network": "web"}, {"aliases": ["x"], "network": "db"}]}
    assert wishes.connections(more, "db", {}) == more
    assert wishes.connections(more, "db", None) == wish
    assert wishes.connections({}, "db", None) == {"networks": []}


def test_published_ports_keep_a_network():
    wish = {"networks": [{}], "ports": [{"container_port": 80}]}
    with pytest.raises(FailedPreconditionError, match="its ports are published from network bridge"):
        wishes.connections(wish, "bridge", None)
    assert wishes.connections(wish, "db", None) == wish


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"addresses": ["x"]}, "address 'x' is not"),
        ({"addresses": [""]}, "address '' is not"),
        ({"addresses": ["10.0.0.256/24"]}, "is not an IPv4 or IPv6 address"),
        ({"mac": "zz"}, "mac 'zz' is not"),
        ({"mac": "02:00:00:00:00"}, "is not six bytes"),
        ({"rate": -1}, "rate -1 is not from 1000"),
        ({"rate": 1}, "rate 1 is not from 1000"),
        ({"rate": 1 << 63}, "is not from 1000 to 4000000000"),
        ({"aliases": ["a b"]}, "alias 'a b' is not valid"),
        ({"aliases": ["a..b"]}, "is not valid"),
        ({"aliases": ["a" * 64]}, "is not valid"),
        ({"aliases": ["a"] * 65}, "at most 64 aliases"),
    ],
)
def test_what_no_network_can_do_is_refused_before_anything_is_made(fields, said):
    with pytest.raises(InvalidArgumentError, match=said):
        wishes.parse({"networks": [{"network": "web"}, {"network": "db", **fields}]})
    with pytest.raises(InvalidArgumentError, match=said):
        wishes.connection("web", fields)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"dns": ["x"]}, "dns server 'x' is not"),
        ({"dns": [""]}, "dns server '' is not"),
        ({"dns": ["1.1.1.1\nsearch evil"]}, "is not an IPv4 or IPv6 address"),
        ({"hosts": [["y", "x"]]}, "address of host 'x' 'y' is not"),
        ({"hosts": [["10.0.0.1", "a b"]]}, "host name 'a b' is not valid"),
    ],
)
def test_what_no_file_in_etc_can_say_is_refused(wish, said):
    with pytest.raises(InvalidArgumentError, match=said):
        wishes.parse(wish)


def test_what_is_unusual_and_right_is_taken():
    wishes.parse(
        {
            "networks": [{"network": "web", "addresses": ["fd::5/64"], "aliases": ["_db.example.org.", "x"]}],
            "dns": ["fe80::1%eth0"],
            "hosts": [["fd::1", "a.b"]],
        }
    )
