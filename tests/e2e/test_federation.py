"""Nodes that know each other: requests over links, rights, links that fail, who watches whom."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import images
import pytest
from daemon import CHECKOUT, wait_until

from chaos.hosts import Hosts
from transport.client import Client
from transport.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chaos.hosts import Host

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
IMAGE = "docker.io/library/busybox:latest"


@pytest.fixture(scope="module")
def hosts(short_root: Path) -> Iterator[Hosts]:
    """Two, of which h1 has joined h2, and h2 nobody."""
    directory = short_root / "pair"
    layout = images.busybox(directory / "layout", "latest").directory
    with Hosts(2, directory) as pair:
        pair["h2"].ask("nodes.leave", "nodes", name="h1")
        actr(pair["h2"], "load", "-q", "--base-name", "busybox", "-i", str(layout))
        wait_until("both are heard", lambda: see(pair, h1="up", h2="up"), 60)
        yield pair


def actr(host: Host, *words: str, check: int = 0, address: str = "") -> str:
    done = subprocess.run(
        [*host.inside(), CHECKOUT / "bin/actr", "--address", address or host.socket, *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == check, (words, done.stdout, done.stderr)
    return done.stdout + done.stderr


def see(hosts: Hosts, **wanted: str) -> bool:
    """Whether h2 thinks so of h1, and h1 of h2."""
    seen: dict[str, str] = {}
    for host in hosts.hosts:
        seen |= {one["name"]: one["state"] for one in host.ask("nodes.list", "nodes")["nodes"]}
    return seen == wanted


@contextlib.contextmanager
def client(host: Host) -> Iterator[Client]:
    with contextlib.closing(Client(str(host.socket))) as found:
        yield found


def told(host: Host) -> list[tuple[str, str]]:
    """Which node came into which state, as its journal has it."""
    found = json.loads(actr(host, "events", "-A", "--no-follow", "--topic", "/nodes", "--format", "json"))
    return [(one["body"]["name"], one["body"]["state"]) for one in found]


def pid(host: Host, actor: str) -> int:
    return next(
        int(one["pid"])
        for one in host.ask("introspection.actors", "supervisor")["actors"]
        if one["name"] == actor
    )


def asking(host: Host, op: str, to: str, **body: Any) -> queue.Queue[Any]:
    """Ask once, from a client of its own; the answer or the error comes in the queue."""
    answers: queue.Queue[Any] = queue.Queue()

    def ask() -> None:
        with client(host) as found:
            try:
                answers.put(found.request(op, body, to=to, limit=200))
            except RemoteError as error:
                answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    return answers


def test_any_actor_of_the_other_node_is_asked_by_its_name(hosts: Hosts):
    with client(hosts["h1"]) as found:
        assert found.request("introspection.version", {}, to="h2/supervisor")["node"] == "h2"
        assert found.request("introspection.version", {}, to="h1/supervisor")["node"] == "h1"
        assert found.request("router.ping", {}, to="h2/router") == {}
        for to, code in (
            ("h2/nobody", "not_found"),
            ("h9/metadata", "not_found"),
            ("h2/h1/metadata", "invalid_argument"),
        ):
            with pytest.raises(RemoteError) as caught:
                found.request("containers.list", {}, to=to)
            assert caught.value.code == code


def test_streams_have_their_credit_and_their_end(hosts: Hosts):
    script = "head -c 3000000 /dev/zero | tr '\\0' x; exit 7"
    with client(hosts["h1"]) as found:

        def told(**wish: object) -> list[Any]:
            stream = found.stream("events.subscribe", {"topic": "/tasks", **wish}, to="h2/events", credit=10)
            return [message for message in stream if message.kind == "event"]

        def ends() -> int:
            return sum(one.body["topic"] == "/tasks/exit" for one in told())

        before = ends()
        output = actr(hosts["h1"], "--node", "h2", "run", "--rm", IMAGE, "sh", "-c", script, check=7)
        assert len(output) == 3_000_000
        # The end of what ran with --rm is told a moment after its client has heard of it.
        wait_until("its end is told", lambda: ends() > before)
        seen = [message.seq for message in told()]
        assert seen == sorted(set(seen))
        assert [message.seq for message in told(after=seen[0])] == seen[1:]


def test_the_key_and_the_callers_own_role_must_both_allow_it(hosts: Hosts):
    """An observer of h1 gets no further than there; an observer's key to h2 gets nobody further."""
    h1, h2 = hosts["h1"], hosts["h2"]
    file = str(hosts.directory / "olga.json")
    actr(h1, "keys", "new", "olga", "--role", "observer", "-o", file)
    wish = ("--node", "h2", "run", "--rm", IMAGE, "true")
    assert "needs the role operator" in actr(h1, *wish, check=125, address=file)
    assert "olga (observer) containers.create of h2/metadata" in (h1.directory / "log").read_text()
    assert "h2" in actr(h1, "--node", "h2", "info", address=file)
    key = next(one for one in h2.ask("keys.list", "metadata")["keys"] if one["name"] == "h1")
    h2.ask("keys.allow", "metadata", name="h1", public=key["public"], role="observer")
    try:
        assert "needs the role operator" in actr(h1, *wish, check=125)
    finally:
        h2.ask("keys.allow", "metadata", name="h1", public=key["public"], role=key["role"])


def test_a_cut_ends_what_waits_and_is_told_on_both_sides_and_heals(hosts: Hosts):
    h1, h2 = hosts["h1"], hosts["h2"]
    made = actr(h1, "--node", "h2", "run", "-d", IMAGE, "sleep", "300").strip()
    container = f"h2/container/default/{made}"
    inc = h1.ask("actors.watch", "supervisor", name=container)["incarnation"]
    assert inc > 0
    watch = asking(h1, "actors.watch", "supervisor", name=container, incarnation=inc)
    waits = asking(h1, "tasks.wait", container)
    wait_until("it waits there", lambda: h2.ask("router.traffic", "router")["waiting"].get("container"), 60)
    before = [len(told(host)) for host in hosts.hosts]
    hosts.cut("h1", "h2")
    try:
        notice, error = watch.get(timeout=60), waits.get(timeout=60)
        assert (notice["name"], notice["incarnation"], notice["reason"]["kind"]) == (
            container,
            inc,
            "noconnection",
        )
        assert (error.code, error.outcome, error.details["node"]) == ("unavailable", "unknown", "h2")
        wait_until("both know", lambda: see(hosts, h1="down", h2="down"), 60)
        assert "node h2 at tcp://10.77.0.2:7400 is not reached" in actr(h1, "--node", "h2", "ps", check=1)
        assert "node h2 is left out" in actr(h1, "ps", "--all-nodes", check=1)
        assert {'actord_node_scraped{node="h1"} 1.0', 'actord_node_scraped{node="h2"} 0.0'} <= scraped(h1)
    finally:
        hosts.heal()
    wait_until("both are heard", lambda: see(hosts, h1="up", h2="up"), 60)
    for host, name, number in zip(hosts.hosts, ("h2", "h1"), before, strict=True):
        states = [state for who, state in told(host)[number:] if who == name]
        assert [state for state in states if state != "suspect"] == ["down", "up"]
    assert watch.empty()
    assert waits.empty()
    actr(h1, "--node", "h2", "rm", "-f", made)


def test_events_of_all_nodes_in_one_stream_with_nothing_lost_to_a_cut(hosts: Hosts):
    h1 = hosts["h1"]
    where = [*h1.inside(), CHECKOUT / "bin/actr", "--address", h1.socket, "--format", "json"]
    PUBLISHED.clear()
    begun = [publish(host) for host in hosts.hosts]
    positions = f"h1={begun[0]},h2={begun[1]}"
    with subprocess.Popen(
        [*where, "events", "-A", "--all-nodes", "--topic", "/mine", "--since", positions],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as follower:  # fmt: skip
        assert follower.stdout is not None
        try:
            first = [publish(host) for host in hosts.hosts]
            found = [json.loads(follower.stdout.readline()) for _ in first]
            assert sorted((one["node"], one["seq"]) for one in found) == list(
                zip(("h1", "h2"), first, strict=True)
            )
            hosts.cut("h1", "h2")
            assert "node h2 is left out until it answers" in follower.stdout.readline()
            second = [publish(host) for host in hosts.hosts]
            [here] = [json.loads(follower.stdout.readline())]
            hosts.heal()
            [there] = [json.loads(follower.stdout.readline())]
            assert [(one["node"], one["seq"]) for one in (here, there)] == [
                ("h1", second[0]),
                ("h2", second[1]),
            ]
        finally:
            hosts.heal()
            follower.terminate()
    wait_until("both are heard", lambda: see(hosts, h1="up", h2="up"), 60)
    words = (
        "events",
        "-A",
        "--all-nodes",
        "--topic",
        "/mine",
        "--no-follow",
        "--since",
        positions,
        "--format",
        "json",
    )
    assert [one["at"] for one in json.loads(actr(h1, *words))] == sorted(PUBLISHED[2:])
    assert "sequence numbers of its own" in actr(h1, "events", "--all-nodes", "--since", "7", check=2)


PUBLISHED: list[int] = []


def publish(host: Host) -> int:
    """One more event; its number there."""
    now = time.time_ns()
    PUBLISHED.append(now)
    found = host.ask("events.publish", "events", namespace="n", topic="/mine", key=f"{now}", body={}, at=now)
    return int(found["seq"])


def test_what_a_cut_leaves_in_doubt_is_not_done_again(hosts: Hosts):
    """Who asked hears that it may have been done; the other node does it, once, when it comes to it."""
    h1, h2 = hosts["h1"], hosts["h2"]
    metadata = pid(h2, "metadata")
    os.kill(metadata, signal.SIGSTOP)
    try:
        wish = {"namespace": "default", "name": "once", "image": IMAGE}
        answer = asking(h1, "containers.create", "h2/metadata", **wish)
        wait_until("it is there", lambda: h2.ask("router.traffic", "router")["waiting"].get("metadata"), 60)
        hosts.cut("h1", "h2")
        error = answer.get(timeout=60)
        assert (error.code, error.outcome, error.details["node"]) == ("unavailable", "unknown", "h2")
        assert "it may have been done" in str(error)
    finally:
        hosts.heal()
        with contextlib.suppress(ProcessLookupError):  # it may have been found to hang
            os.kill(metadata, signal.SIGCONT)
    wait_until("both are heard", lambda: see(hosts, h1="up", h2="up"), 60)
    assert "once" not in actr(h1, "ps", "-a", "--names").split()
    assert answer.empty()
    made = actr(h2, "ps", "-a", "--names").split().count("once")
    assert made <= 1
    actr(h2, "rm", "-f", "once", check=0 if made else 1)


def test_metrics_of_all_nodes_in_one_scrape(hosts: Hosts):
    found = scraped(hosts["h1"])
    for node in ("h1", "h2"):
        assert f'actord_node_scraped{{node="{node}"}} 1.0' in found
        assert f'actord_actor_up{{actor="metadata",kind="metadata",node="{node}"}} 1.0' in found
    assert 'actord_node_up{link="joined",node="h1",peer="h2"} 1.0' in found
    assert 'actord_node_up{link="accepted",node="h2",peer="h1"} 1.0' in found


def scraped(host: Host) -> set[str]:
    """Lines of /metrics?nodes=all, asked for on that host."""
    url = host.ask("metrics.address", "metrics")["url"] + "?nodes=all"
    script = (
        "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=30).read().decode())"
    )
    words = [*host.inside(), sys.executable, "-c", script, url]
    return set(
        subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    )


def test_an_end_on_the_other_node_is_told_with_its_reason(hosts: Hosts):
    h1, h2 = hosts["h1"], hosts["h2"]
    inc = h1.ask("actors.watch", "supervisor", name="h2/volumes")["incarnation"]
    watches = [
        asking(h1, "actors.watch", "supervisor", name="h2/volumes", incarnation=inc),
        asking(h1, "actors.watch", "h2/supervisor", name="volumes", incarnation=inc),
    ]
    os.kill(pid(h2, "volumes"), signal.SIGKILL)
    for watch, name in zip(watches, ("h2/volumes", "volumes"), strict=True):
        notice = watch.get(timeout=60)
        assert (notice["name"], notice["incarnation"]) == (name, inc)
        assert notice["reason"]["kind"] in (
            "killed",
            "abnormal",
        )  # it may have been dead before it was watched


@pytest.mark.parametrize("actor", ["nodes", "router"])
def test_a_crash_on_the_way_is_no_outage(hosts: Hosts, actor: str):
    before = [told(host) for host in hosts.hosts]
    for host in hosts.hosts:
        old = pid(host, actor)
        os.kill(old, signal.SIGKILL)
        wait_until("it is back", lambda host=host, old=old: _other(host, actor, old), 60)
        with client(hosts["h1"]) as found:
            answer = found.request("introspection.version", {}, to="h2/supervisor", repeatable=True)
            assert answer["node"] == "h2"
    wait_until("both are heard", lambda: see(hosts, h1="up", h2="up"), 60)
    for host, earlier in zip(hosts.hosts, before, strict=True):
        assert "down" not in [state for _, state in told(host)[len(earlier) :]]


def _other(host: Host, actor: str, old: int) -> bool:
    try:
        return pid(host, actor) not in (0, old)
    except (RemoteError, StopIteration):
        return False
