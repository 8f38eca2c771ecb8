"""transport/client.py against a real ROUTER: repeating, reconnecting, resuming, credit."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.unit.cli.fake_daemon import WELCOME, FakeDaemon
from transport import client as module
from transport.client import Client, NotRunningError
from transport.envelope import SIGNATURE
from transport.errors import RemoteError

ROOT = Path(__file__).resolve().parents[3]
OUTPUT = "tasks.output"
WEB = "container/default/3f2a"


@pytest.fixture
def daemon(tmp, no_leaks):
    found = FakeDaemon(tmp / "s")
    yield found
    found.close()
    assert found.problems == []


@pytest.fixture
def client(daemon):
    found = Client(str(daemon.path))
    yield found
    found.close()


def get(client, **more):
    body = {"namespace": "default", "name": "busybox"}
    return client.request("images.get", body, to="metadata", **more)


def test_it_learns_who_answers_when_somebody_wants_to_know(daemon, client):
    daemon.answers("images.get", {})
    get(client)
    assert daemon.told == []
    assert client.welcome == client.welcome == WELCOME
    assert [told.type for told in daemon.told] == ["HELLO"]


def test_who_answers_is_not_known_of_a_router_that_went_away(daemon, client):
    daemon.on["images.get"] = lambda asked: (asked.fin({}), daemon.die())
    get(client)
    with pytest.raises(NotRunningError, match="no daemon answers"):
        _ = client.welcome


def test_the_signature_is_that_of_the_envelope():
    assert module.SIGNATURE == SIGNATURE


def test_a_request_and_its_result(daemon, client):
    daemon.answers("images.get", {"name": "busybox"})
    assert get(client, limit=7) == {"name": "busybox"}
    asked = daemon.asked[0].envelope
    assert (asked.to, asked.op, asked.value()["name"]) == ("metadata", "images.get", "busybox")
    assert 6000 < asked.deadline <= 7000
    assert len(asked.id) == 16


def test_an_error_as_it_was_answered(daemon, client):
    daemon.refuses("images.get", "not_found", "no such image", details={"a": 1})
    with pytest.raises(RemoteError, match="no such image") as caught:
        get(client)
    assert (caught.value.code, caught.value.details) == ("not_found", {"a": 1})
    assert len(daemon.asked) == 1


def test_what_was_not_started_is_repeated(daemon, client):
    daemon.on["images.get"] = [
        lambda asked: asked.err("unavailable", "starting"),
        lambda asked: asked.err("overloaded"),
        lambda asked: asked.fin({"ok": 1}),
    ]
    assert get(client) == {"ok": 1}
    assert len({asked.envelope.id for asked in daemon.asked}) == 3


@pytest.mark.parametrize(("repeatable", "times"), [(True, 2), (False, 1)])
def test_what_is_uncertain_is_repeated_only_if_that_does_no_harm(daemon, client, repeatable, times):
    daemon.on["images.get"] = [
        lambda asked: asked.err("unavailable", "actor ended", outcome="unknown"),
        lambda asked: asked.fin({"ok": 1}),
    ]
    if repeatable:
        assert get(client, repeatable=True) == {"ok": 1}
    else:
        with pytest.raises(RemoteError, match="actor ended"):
            get(client)
    assert len(daemon.asked) == times


def test_repeating_ends(daemon, client):
    daemon.refuses("images.get", "unavailable", "starting", actor="metadata")
    with pytest.raises(RemoteError, match=r"images.get: starting \(tried for 0.2 s\)") as caught:
        get(client, limit=0.2)
    assert (caught.value.code, caught.value.outcome) == ("deadline_exceeded", "not_started")
    assert caught.value.actor == "metadata"


def test_no_answer_at_all(daemon, client, monkeypatch):
    monkeypatch.setattr(module, "LATE", 0.05)
    daemon.on["images.get"] = lambda _: None
    with pytest.raises(RemoteError, match="no answer from metadata") as caught:
        get(client, limit=0.05)
    assert (caught.value.code, caught.value.outcome) == ("deadline_exceeded", "unknown")


def test_late_answers_to_other_requests_are_ignored(daemon, client, monkeypatch):
    monkeypatch.setattr(module, "LATE", 0.05)
    daemon.on["images.get"] = lambda _: None
    with pytest.raises(RemoteError):
        get(client, limit=0.05)

    def both(asked):
        daemon.asked[0].part({"late": 1})
        daemon.asked[0].fin({"late": 2})
        asked.part({"not": "wanted"})
        asked.fin({"mine": 1})

    daemon.on["images.get"] = both
    assert get(client) == {"mine": 1}


def test_a_router_that_dies_is_found_again(daemon, client):
    daemon.on["images.get"] = [lambda _: daemon.die(), lambda asked: asked.fin({"ok": 1})]
    assert get(client, repeatable=True) == {"ok": 1}
    assert len({asked.envelope.fr for asked in daemon.asked}) == 2  # connections


def test_a_router_that_dies_leaves_what_must_not_be_repeated_uncertain(daemon, client):
    daemon.on["images.delete"] = lambda _: daemon.die()
    body = {"namespace": "default", "name": "busybox"}
    with pytest.raises(RemoteError, match="may have been done") as caught:
        client.request("images.delete", body, to="metadata")
    assert (caught.value.code, caught.value.outcome) == ("unavailable", "unknown")
    daemon.answers("images.get", {"ok": 1})
    assert get(client) == {"ok": 1}


def test_a_router_that_died_between_two_requests_costs_nothing(daemon, client):
    daemon.on["images.get"] = [
        lambda asked: (asked.fin({"ok": 1}), daemon.die()),
        lambda asked: asked.fin({}),
    ]
    get(client, repeatable=True)
    get(client, repeatable=True)
    assert len({asked.envelope.fr for asked in daemon.asked}) == 2  # connections


def test_nobody_there(tmp):
    path = tmp / "nothing.sock"
    with pytest.raises(NotRunningError) as caught:
        Client(str(path))
    assert str(caught.value) == (
        f"no daemon answers at {path}; start it with: actord --state DIR (or set ACTORD_ADDRESS)"
    )


def test_a_daemon_that_does_not_come_back(daemon, client, monkeypatch):
    monkeypatch.setattr(client, "_patience", 0.1)

    def leave(_asked):
        daemon.die()
        daemon.path.unlink()

    daemon.on["images.get"] = leave
    with pytest.raises(NotRunningError):
        get(client, repeatable=True)


def test_a_refused_message_without_re_is_an_answer(daemon, client):
    def refuse(asked):
        asked.envelope = replace(asked.envelope, id=b"")
        asked.err("invalid_argument", "message refused")

    daemon.on["images.get"] = refuse
    with pytest.raises(RemoteError, match="message refused"):
        get(client)


# Streams


def test_parts_then_the_final_answer(daemon, client):
    def script(asked):
        asked.output(1, 0, b"ab")
        asked.event(5, {"x": 1})
        asked.fin({"exit_code": 0})

    daemon.on[OUTPUT] = script
    found = list(client.stream(OUTPUT, {}, to=WEB, credit=100))
    assert [(one.kind, one.body, one.buffers, one.seq) for one in found] == [
        ("part", {"stream": 1, "offset": 0, "at": 0}, (b"ab",), 0),
        ("event", {"x": 1}, (), 5),
        ("final", {"exit_code": 0}, (), 0),
    ]
    assert daemon.asked[0].envelope.credit == 100


def test_credit_is_given_for_what_was_consumed(daemon, client):
    total, credit = 50, 10
    sent = []

    def send_on(asked, count):
        for _ in range(count):
            if len(sent) == total:
                asked.fin({})
                return
            sent.append(1)
            asked.output(1, len(sent) - 1, b"x")

    daemon.on[OUTPUT] = lambda asked: send_on(asked, credit)
    daemon.on_credit = lambda message: send_on(daemon.asked[0], message.credit)
    found = b"".join(
        one.buffers[0] for one in client.stream(OUTPUT, {}, to=WEB, credit=credit) if one.kind == "part"
    )
    assert found == b"x" * total
    given = [told for told in daemon.told if told.type == "CREDIT"]
    assert {told.re for told in given} == {daemon.asked[0].envelope.id}
    assert sum(told.credit for told in given) >= total - credit


def test_a_stream_goes_on_after_actor_and_router_died(daemon, client):
    reached = []

    def dead_actor(asked):
        asked.output(1, 0, b"one ")
        asked.err("unavailable", "actor ended", outcome="unknown")

    def dead_router(asked):
        asked.output(1, asked.body["stdout"], b"two ")
        daemon.die()

    def healthy(asked):
        asked.output(1, asked.body["stdout"], b"three")
        asked.fin({"exit_code": 3})

    daemon.on[OUTPUT] = [dead_actor, dead_router, healthy]
    found = client.stream(OUTPUT, {"stdout": 0}, to=WEB, resume=lambda: {"stdout": sum(map(len, reached))})
    last = None
    for one in found:
        reached += one.buffers
        last = one
    # The router's death may take what it had not yet passed on; the resumed stream then sends it again.
    assert b"".join(reached) in (b"one two three", b"one three")
    assert [body["stdout"] for body in daemon.bodies(OUTPUT)][:2] == [0, 4]
    assert daemon.bodies(OUTPUT)[2]["stdout"] == len(b"".join(reached)) - 5
    assert (last.kind, last.body) == ("final", {"exit_code": 3})


def numbered(asked, *numbers, final=0):
    """Events whose numbers in the journal are those in the stream, then the end."""
    for number in numbers:
        asked.event(number, {}, number=number)
    asked.fin(number=final)


@pytest.mark.parametrize("lossy", [((1, 3), 4), ((2,), 3), ((1, 2, 2), 4), ((1, 3, 2), 4), ((1, 2), 4)])
def test_a_stream_of_which_something_was_lost_is_taken_up_again(daemon, client, lossy):
    came, final = lossy
    daemon.on["events.subscribe"] = [
        lambda asked: numbered(asked, *came, final=final),
        lambda asked: numbered(asked, 1, 2, 3, final=4),
    ]
    reached = []
    stream = client.stream(
        "events.subscribe", {"after": 0}, to="events", resume=lambda: {"after": len(reached)}
    )
    for one in stream:
        if one.kind == "event":
            reached.append(one.seq)  # noqa: PERF401  # `resume` looks at it meanwhile
    held = [number for at, number in enumerate(came, 1) if came[:at] == tuple(range(1, at + 1))]
    assert reached == [*held, 1, 2, 3]
    assert [body["after"] for body in daemon.bodies("events.subscribe")] == [0, len(held)]


def test_who_does_not_number_its_answers_is_taken_at_its_word(daemon, client):
    daemon.on["events.subscribe"] = lambda asked: [asked.event(7, {}), asked.event(9, {}), asked.fin({})]
    found = list(client.stream("events.subscribe", {}, to="events"))
    assert [one.seq for one in found] == [7, 9, 0]


def test_what_a_living_actor_answers_is_the_end(daemon, client):
    daemon.refuses("transfers.attach", "unavailable", "registry is down", by="puller/default/1/1")
    with pytest.raises(RemoteError, match="registry is down"):
        list(client.stream("transfers.attach", {}, to="puller/default/1"))
    assert len(daemon.asked) == 1


def test_a_stream_that_leads_nowhere_ends(daemon, client):
    daemon.refuses(OUTPUT, "unavailable", "starting")
    with pytest.raises(RemoteError, match="starting"):
        list(client.stream(OUTPUT, {}, to=WEB, patience=0.1))
    assert len(daemon.asked) > 1


def test_out_of_credit_means_ask_again(daemon, client):
    def first(asked):
        asked.event(1, {})
        asked.err("overloaded", "more than credit", outcome="done", by="events/1")

    daemon.on["events.subscribe"] = [first, lambda asked: asked.fin({"last": asked.body["after"]})]
    found = list(
        client.stream("events.subscribe", {"after": 0}, to="events", credit=5, resume=lambda: {"after": 1})
    )
    assert [one.kind for one in found] == ["event", "final"]
    assert found[-1].body == {"last": 1}


def test_closing_a_stream_cancels_it(daemon, client):
    daemon.on[OUTPUT] = lambda asked: asked.output(1, 0, b"x")
    stream = client.stream(OUTPUT, {}, to=WEB)
    next(stream)
    stream.close()
    daemon.answers("images.get", {})
    get(client)  # what was sent before has arrived by then
    assert [(told.type, told.re) for told in daemon.told] == [("CANCEL", daemon.asked[0].envelope.id)]


def test_who_hangs_up_ends_what_waits_in_another_thread(daemon, client):
    told, ended = threading.Event(), []
    daemon.on[OUTPUT] = lambda asked: (asked.part({}), told.set())

    def follow():
        with pytest.raises(NotRunningError) as caught:
            list(client.stream(OUTPUT, {}, to=WEB, patience=3600))
        ended.append(str(caught.value))

    thread = threading.Thread(target=follow)
    thread.start()
    assert told.wait(60)
    client.hang_up()
    thread.join(60)
    assert ended == ["the client has hung up"]
    assert len(daemon.asked) == 1
    with pytest.raises((NotRunningError, RemoteError)):
        get(client, limit=1)


def test_it_imports_little():
    code = "import sys, transport.client; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "transport.packing" in loaded
    assert not loaded & {
        "msgpack",
        "zmq",
        "actors",
        "dataclasses",
        "inspect",
        "argparse",
        "json",
        "pathlib",
        "os",
    }
