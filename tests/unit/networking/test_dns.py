"""The resolver: what it answers by itself, what it hands on, and what it does with nonsense."""

import contextlib
import errno
import logging
import queue
import socket
import threading

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.networking import dns_server
from actors.networking.dns_answers import answer, failed
from actors.networking.dns_server import DnsServer, host_servers
from tests.ports import free_port

NAMES = {
    "web": ["10.1.0.2", "fd01::2"],
    "aaaaaaaaaaaa": ["10.1.0.2", "fd01::2"],
    "db": ["10.1.0.3", "10.1.0.4"],
}


def _ask(name, kind="A", **how):
    query = dns.message.make_query(name, kind, **how)
    said = answer(query.to_wire(), NAMES)
    return None if said is None else dns.message.from_wire(said)


def _addresses(reply):
    return sorted(item.to_text() for rrset in reply.answer for item in rrset)


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("web.", "A", ["10.1.0.2"]),
        ("WEB.", "A", ["10.1.0.2"]),
        ("web.", "AAAA", ["fd01::2"]),
        ("db.", "A", ["10.1.0.3", "10.1.0.4"]),
        ("db.", "AAAA", []),
        ("web.", "MX", []),
        ("2.0.1.10.in-addr.arpa.", "PTR", ["web."]),
    ],
)
def test_containers_are_found_by_name(name, kind, found):
    reply = _ask(name, kind)
    assert _addresses(reply) == found
    assert reply.rcode() == dns.rcode.NOERROR
    assert reply.flags & dns.flags.AA


@pytest.mark.parametrize(
    ("name", "kind"), [("example.org.", "A"), ("web.example.org.", "A"), ("9.9.9.9.in-addr.arpa.", "PTR")]
)
def test_what_is_nobody_here_is_for_others(name, kind):
    assert _ask(name, kind) is None


def test_an_answer_that_is_too_long_is_cut_and_said_to_be():
    many = {"many": [f"10.1.{number // 250}.{number % 250 + 1}" for number in range(100)]}
    query = dns.message.make_query("many.", "A").to_wire()
    short, long = (dns.message.from_wire(answer(query, many, tcp=tcp)) for tcp in (False, True))
    assert short.flags & dns.flags.TC
    assert not short.answer
    assert len(_addresses(long)) == 100
    roomy = dns.message.make_query("many.", "A", use_edns=True, payload=4096).to_wire()
    assert len(_addresses(dns.message.from_wire(answer(roomy, many)))) == 100


@given(st.binary(max_size=600))
def test_no_bytes_break_it(wire):
    said = answer(wire, NAMES)
    assert said is None or said[:2] in (b"", wire[:2])
    assert failed(wire)[:2] in (b"", wire[:2])


@pytest.mark.parametrize("odd", ["a" * 64, "a..b"])
def test_a_name_that_dns_cannot_say_is_nobodys_in_an_answer(odd):
    query = dns.message.make_query("9.0.1.10.in-addr.arpa.", "PTR").to_wire()
    assert answer(query, {odd: ["10.1.0.9"]}) is None
    both = dns.message.from_wire(answer(query, {odd: ["10.1.0.9"], "web": ["10.1.0.9"]}))
    assert _addresses(both) == ["web."]


def test_an_answer_is_never_answered():
    reply = dns.message.make_response(dns.message.make_query("web.", "A"))
    assert answer(reply.to_wire(), NAMES) == b""


def test_servers_of_the_host(tmp):
    file = tmp / "resolv.conf"
    file.write_text(
        "# x\nsearch y\nnameserver 192.0.2.1\nnameserver a..b\nnameserver 2001:db8::1 \nnameserver\n"
        + "nameserver 192.0.2.9\n" * 5
    )
    assert host_servers(file) == [("192.0.2.1", 53), ("2001:db8::1", 53), ("192.0.2.9", 53)]
    assert host_servers(tmp / "missing") == []


@pytest.fixture
def port():
    """One that is free for both."""
    while True:
        found = free_port()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, contextlib.suppress(OSError):
            datagrams.bind(("127.0.0.1", found))
            return found


@pytest.fixture
def upstream():
    """Somebody who knows one name, and says nothing to the rest."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def serve():
        while True:
            wire, client = server.recvfrom(4096)
            if wire == b"end":
                return
            query = dns.message.from_wire(wire)
            reply = dns.message.make_response(query)
            reply.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "192.0.2.80"))
            server.sendto(reply.to_wire(), client)

    def serve_streams():
        while True:
            client, _ = streams.accept()
            with client:
                size = int.from_bytes(client.recv(2), "big")
                if not size:
                    return
                query = dns.message.from_wire(client.recv(size))
                reply = dns.message.make_response(query)
                texts = [f"192.0.2.{number}" for number in range(1, 101)]  # too much for a datagram
                reply.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", *texts))
                wire = reply.to_wire()
                client.sendall(len(wire).to_bytes(2, "big") + wire[:700])
                client.sendall(wire[700:])

    streams = socket.create_server(server.getsockname())
    threads = [threading.Thread(target=serve), threading.Thread(target=serve_streams)]
    for thread in threads:
        thread.start()
    yield server.getsockname()
    server.sendto(b"end", server.getsockname())
    socket.create_connection(server.getsockname()).close()
    for thread in threads:
        thread.join()
    server.close()
    streams.close()


@pytest.fixture
def served(port, upstream):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        server = DnsServer(logging.getLogger("dns"), lambda: [deaf.getsockname(), upstream], port)
        server.start()
        server.serve({"127.0.0.1": NAMES})
        yield server
        server.stop()


def _resolve(port, name, *, tcp=False):
    query = dns.message.make_query(name, "A")
    ask = dns.query.tcp if tcp else dns.query.udp
    for _ in range(50):
        try:
            return _addresses(ask(query, "127.0.0.1", port=port, timeout=3))
        except (OSError, dns.exception.Timeout):  # it does not listen yet
            threading.Event().wait(0.05)
    raise AssertionError("nobody listens")


def test_over_udp_and_tcp(served, port):
    assert _resolve(port, "web.") == _resolve(port, "web.", tcp=True) == ["10.1.0.2"]


def test_others_are_asked_and_one_that_is_deaf_does_not_stop_it(served, port):
    _resolve(port, "web.")
    assert _resolve(port, "example.org.") == ["192.0.2.80"]


def test_a_question_over_tcp_is_handed_on_over_tcp(served, port):
    _resolve(port, "web.")
    assert len(_resolve(port, "example.org.", tcp=True)) == 100


def test_names_change_while_it_runs(served, port):
    _resolve(port, "web.")
    served.serve({"127.0.0.1": {"web": ["10.1.0.9"]}})
    while _resolve(port, "web.") != ["10.1.0.9"]:
        pass


@pytest.mark.parametrize("tcp", [False, True])
def test_one_that_is_on_another_network_too_is_told_its_names(served, port, tcp):
    zones = {
        "127.0.0.1": NAMES | {"new": ["10.1.0.9"]},
        "127.0.0.2": {"web": ["10.2.0.9"], "cache": ["10.2.0.2"]},
    }
    served.serve(zones, {"127.0.0.1": ["127.0.0.2", "127.0.0.3"]})
    while _resolve(port, "new.") != ["10.1.0.9"]:
        pass
    assert _resolve(port, "cache.", tcp=tcp) == ["10.2.0.2"]
    assert _resolve(port, "web.", tcp=tcp) == ["10.1.0.2"], (
        "of two with one name, that of the network it asks"
    )


def test_one_that_is_on_one_network_is_told_of_no_other(served, port):
    zones = {"127.0.0.1": {"new": ["10.1.0.9"]}, "127.0.0.2": {"cache": ["10.2.0.2"]}}
    served.serve(zones, {"127.0.0.9": ["127.0.0.2"]})
    while _resolve(port, "new.") != ["10.1.0.9"]:
        pass
    assert _resolve(port, "cache.") == ["192.0.2.80"]


def test_nobody_to_ask_is_said_at_once(port):
    server = DnsServer(logging.getLogger("dns"), list, port)
    server.start()
    server.serve({"127.0.0.1": NAMES})
    _resolve(port, "web.")
    query = dns.message.make_query("example.org.", "A")
    assert dns.query.udp(query, "127.0.0.1", port=port, timeout=30).rcode() == dns.rcode.SERVFAIL
    server.stop()


@pytest.mark.parametrize("tcp", [False, True])
def test_a_question_that_finds_a_mistake_is_failed_and_the_next_one_answered(served, port, tcp):
    served.serve({"127.0.0.1": NAMES | {"wrong": ["not an address"]}})
    _resolve(port, "web.")
    ask = dns.query.tcp if tcp else dns.query.udp
    said = ask(dns.message.make_query("wrong.", "A"), "127.0.0.1", port=port, timeout=30)
    assert said.rcode() == dns.rcode.SERVFAIL
    assert _resolve(port, "web.", tcp=tcp) == ["10.1.0.2"]


@pytest.mark.parametrize("tcp", [False, True])
def test_without_a_descriptor_for_it_a_question_is_failed(served, port, tcp, monkeypatch):
    _resolve(port, "web.")
    real = socket.socket
    ours = threading.get_ident()

    def none_left(*how, **more):
        if threading.get_ident() != ours and not more:  # an accepted connection has one already
            raise OSError(errno.EMFILE, "no descriptor is left")
        return real(*how, **more)

    monkeypatch.setattr(dns_server.socket, "socket", none_left)
    query = dns.message.make_query("example.org.", "A")
    ask = dns.query.tcp if tcp else dns.query.udp
    assert ask(query, "127.0.0.1", port=port, timeout=30).rcode() == dns.rcode.SERVFAIL


def test_what_ends_its_thread_is_told(port):
    told = queue.Queue()
    server = DnsServer(logging.getLogger("dns"), lambda: 1 / 0, port, told.put)
    server.start()
    server.serve({"127.0.0.1": NAMES})
    _resolve(port, "web.")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.sendto(dns.message.make_query("example.org.", "A").to_wire(), ("127.0.0.1", port))
        assert isinstance(told.get(timeout=30), ZeroDivisionError)
    server.stop()


def test_connections_that_say_nothing_are_bounded_and_others_are_served(served, port):
    _resolve(port, "web.")
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
    assert _resolve(port, "web.") == ["10.1.0.2"]
    for one in idle:
        one.close()


@pytest.mark.usefixtures("no_leaks")
def test_it_leaves_nothing(port):
    server = DnsServer(logging.getLogger("dns"), list, port)
    server.start()
    server.serve({"127.0.0.1": NAMES})
    _resolve(port, "web.", tcp=True)
    server.stop()
