"""Everything but run: lists, removal, waiting, events, the tree, versions."""

from __future__ import annotations

import io
import json
import sys
import time
from types import SimpleNamespace

import pytest

from cli import stats
from cli.actors import tree
from cli.kill import signal_number
from cli.options import UsageError
from cli.ps import describe_status
from tests.unit.cli.conftest import WEB, WEB_ID
from transport.codec import pack

SECOND = 10**9
DONE = {**WEB, "id": "ab" * 32, "name": "done", "created_at": 5 * SECOND, "wanted": "stopped"}
DONE["task"] = {"status": "stopped", "exit_code": 7, "exited_at": 6 * SECOND, "pid": 0}
BUSYBOX = {
    "namespace": "default",
    "name": "docker.io/library/busybox:latest",
    "target": {"digest": "sha256:" + "cd" * 32, "size": 500},
    "created_at": SECOND,
    "updated_at": SECOND,
}


@pytest.fixture
def listed(daemon):
    daemon.answers("containers.list", {"containers": [WEB, DONE]})
    daemon.answers("images.list", {"images": [BUSYBOX]})
    return daemon


def test_ps_shows_what_runs(listed, actr):
    done = actr("ps")
    head, line = done.out.splitlines()
    assert head.split() == ["CONTAINER", "NAME", "IMAGE", "COMMAND", "STATUS", "PID"]
    assert line.startswith("3f2a3f2a3f2a  web")
    assert line.endswith("days  4711")
    assert "up " in line


def test_ps_all_youngest_first(listed, actr):
    lines = actr("ps", "-a").out.splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["done", "web"]
    assert "exited (7) " in lines[1]


@pytest.mark.parametrize(("words", "out"), [(["-q"], WEB_ID + "\n"), (["-a", "--names"], "done\nweb\n")])
def test_ps_for_scripts(listed, actr, words, out):
    assert actr("ps", *words).out == out


@pytest.mark.parametrize("words", [["--format", "json", "ps"], ["ps", "--format=json"]])
def test_ps_json(listed, actr, words):
    assert json.loads(actr(*words).out) == [WEB]


@pytest.mark.parametrize(
    ("words", "brief"), [(["ps"], True), (["ps", "-q"], True), (["--format", "json", "ps"], False)]
)
def test_ps_asks_for_no_more_than_it_shows(listed, actr, words, brief):
    """Whole records of hundreds of Docker's containers are more than an answer has room for."""
    actr(*words)
    assert [body["brief"] for body in listed.bodies("containers.list")] == [brief]


def test_the_namespace_is_said(listed, actr, monkeypatch):
    actr("ps")
    actr("-n", "a", "ps")
    actr("ps", "-n", "b")
    monkeypatch.setenv("ACTORD_NAMESPACE", "c")
    actr("ps")
    assert [body["namespace"] for body in listed.bodies("containers.list")] == ["default", "a", "b", "c"]


def test_a_narrow_terminal(listed, actr, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    whole = actr("ps", "-a").out.splitlines()  # into a pipe, where somebody may look for more
    assert max(map(len, whole)) > 60
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    lines = actr("ps", "-a").out.splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[1].startswith("abababababab  done  …")


PORTS = [
    {"protocol": "tcp", "host": "", "host_port": 8080, "container_port": 80},
    {"protocol": "udp", "host": "::1", "host_port": 5300, "container_port": 53},
]


@pytest.mark.parametrize(
    ("words", "out", "code"),
    [
        ([], "80/tcp -> *:8080\n53/udp -> [::1]:5300\n", 0),
        (["80"], "0.0.0.0:8080\n", 0),
        (["53/udp"], "[::1]:5300\n", 0),
        (["53"], "", 1),
        (["80/x"], "", 2),
    ],
)
def test_ports(daemon, actr, words, out, code):
    daemon.answers("containers.get", WEB)
    daemon.answers("network.ports", {"ports": PORTS})
    done = actr("port", "web", *words)
    assert (done.out, done.code) == (out, code)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"task": None}, "created 9 seconds ago"),
        ({"task": {"status": "created", "error": "no such file"}}, "failed to start"),
        ({"task": {"status": "running", "started_at": 7 * SECOND}}, "up 3 seconds"),
        ({"task": {"status": "stopped", "exit_code": 0, "exited_at": 9 * SECOND}}, "exited (0) 1 second ago"),
        ({"task": {"status": "stopped", "exit_code": None, "exited_at": 0}}, "exited (unknown)"),
        (
            {"task": {"status": "stopped", "exit_code": 137, "oom": True, "exited_at": 0}},
            "exited (137, out of memory)",
        ),
        ({"task": {"status": "paused"}}, "paused"),
        ({"wanted": "removed"}, "removing"),
    ],
)
def test_states_in_words(fields, text):
    assert describe_status({**WEB, **fields}, 10 * SECOND) == text


def test_images(listed, actr):
    head, line = actr("images").out.splitlines()
    assert head.split() == ["IMAGE", "DIGEST", "UPDATED"]
    assert line.split()[:2] == ["busybox:latest", "cdcdcdcdcdcd"]
    assert actr("images", "-q").out == BUSYBOX["name"] + "\n"
    assert json.loads(actr("images", "--format", "json").out) == [BUSYBOX]


def test_rmi(daemon, actr):
    daemon.answers("images.delete", BUSYBOX)
    assert actr("rmi", "-f", "busybox").out == BUSYBOX["name"] + "\n"
    assert daemon.bodies("images.delete") == [{"namespace": "default", "name": "busybox", "force": True}]


@pytest.mark.parametrize(("there", "code"), [(False, 0), (True, 1)])
def test_rmi_of_unknown_outcome_is_looked_up(daemon, actr, there, code):
    daemon.refuses("images.delete", "unavailable", "actor ended", outcome="unknown")
    daemon.answers("images.get", BUSYBOX)
    if not there:
        daemon.refuses("images.get", "not_found")
    assert actr("rmi", "busybox").code == code
    assert daemon.ops().count("images.delete") == 1


def test_of_several_all_are_tried(daemon, actr):
    def get(asked):
        if asked.body["id"] == "nope":
            asked.err("not_found", 'container "nope" not found')
        else:
            asked.fin(WEB)

    daemon.on["containers.get"] = get
    daemon.answers("containers.remove", {})
    done = actr("rm", "nope", "web")
    assert (done.code, done.out) == (1, "web\n")
    assert done.err == 'actr: container "nope" not found; list what there is: actr ps -a\n'
    assert actr("rm", "-f", "nope").code == 0


def test_a_removal_that_outlived_its_actor(daemon, actr):
    daemon.on["containers.get"] = [lambda asked: asked.fin(WEB), lambda asked: asked.err("not_found")]
    daemon.on["containers.remove"] = [
        lambda asked: asked.err("unavailable", "actor ended", outcome="unknown"),
        lambda asked: asked.err("not_found", "no actor is named so"),
    ]
    assert actr("rm", "web").code == 0


def test_a_running_one_is_not_removed(daemon, actr):
    daemon.refuses("containers.remove", "failed_precondition", "container web is running")
    done = actr("rm", "web")
    assert (done.code, done.out) == (1, "")
    assert done.err == "actr: container web is running; stop it first (actr stop), or: actr rm -f\n"


def test_stop_kill_wait(daemon, actr):
    daemon.answers("tasks.stop", {"exit_code": 0})
    daemon.answers("tasks.kill", {})
    daemon.answers("tasks.wait", {"exit_code": 3})
    assert actr("stop", "-t", "2.5", "web").out == "web\n"
    assert daemon.bodies("tasks.stop") == [{"grace": 2.5}]
    assert actr("kill", "-s", "usr1", "web").out == "web\n"
    assert daemon.bodies("tasks.kill") == [{"signal": 10}]
    assert actr("wait", "web").out == "3\n"
    daemon.answers("tasks.wait", {"exit_code": None})
    assert actr("wait", "web").out == "unknown\n"


def test_signals_by_name_and_number():
    assert [signal_number(text) for text in ("9", "KILL", "sigterm", "RTMIN+3")] == [9, 9, 15, 37]
    for text in ("0", "65", "FOO", "KILL+1", "RTMIN+99", ""):
        with pytest.raises(UsageError):
            signal_number(text)


def test_inspect_finds_either(daemon, actr):
    assert json.loads(actr("inspect", "web").out) == WEB
    daemon.refuses("containers.get", "not_found", "no container")
    daemon.answers("images.get", BUSYBOX)
    assert json.loads(actr("inspect", "busybox").out) == BUSYBOX
    daemon.refuses("images.get", "not_found", "no image")
    assert actr("inspect", "x").err == "actr: no container; list what there is: actr ps -a\n"


# pull


def test_pull(daemon, actr):
    def attach(asked):
        asked.part({"ref": "sha256:" + "cd" * 32, "status": "downloading", "offset": 0, "total": 5000})
        asked.fin(BUSYBOX)

    daemon.answers("images.pull", {"actor": "puller/default/1"})
    daemon.on["transfers.attach"] = attach
    done = actr("pull", "busybox")
    assert (done.out, done.err) == (BUSYBOX["name"] + "\n", "cdcdcdcdcdcd: downloading 5.0 kB\n")
    assert actr("pull", "-q", "busybox").err == ""
    assert json.loads(actr("pull", "-q", "--format", "json", "busybox").out) == BUSYBOX


@pytest.mark.parametrize(("updated", "pulls"), [(1 << 62, 1), (0, 2), (0, 6)])
def test_a_puller_that_is_gone_has_done_it_or_is_asked_again(daemon, actr, updated, pulls):
    """As often as it takes, for a while: the daemon may be started anew time and again."""
    daemon.answers("images.pull", {"actor": "puller/default/1"})
    gone = "no actor is named puller/default/1"
    daemon.on["transfers.attach"] = [
        *[lambda asked: asked.err("not_found", gone)] * max(1, pulls - 1),
        lambda asked: asked.fin(BUSYBOX),
    ]
    daemon.answers("images.get", {**BUSYBOX, "updated_at": updated})
    assert actr("pull", "busybox").out == BUSYBOX["name"] + "\n"
    assert daemon.ops().count("images.pull") == pulls


@pytest.mark.parametrize(
    ("code", "hint"), [("not_found", "check the name"), ("unavailable", "check that the registry runs")]
)
def test_what_the_puller_says_is_the_end(daemon, actr, code, hint):
    daemon.answers("images.pull", {"actor": "puller/default/1"})
    daemon.refuses("transfers.attach", code, "registry says no", by="puller/default/1/1")
    done = actr("pull", "busybox")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"actr: registry says no; {hint}")
    assert daemon.ops() == ["images.pull", "transfers.attach"]


# events


def event(seq, at=SECOND):
    body = {"container_id": "c", "id": "c"}
    return {"seq": seq, "namespace": "default", "topic": "/tasks/exit", "at": at, "body": body}


def journal(asked):
    asked.event(3, {"gap": 2})
    asked.event(4, event(4))
    asked.event(5, event(5, 3 * SECOND))
    asked.fin({"instance": "i", "last": 5})


def test_events(daemon, actr):
    daemon.on["events.subscribe"] = journal
    done = actr("events", "--no-follow", "--since", "2")
    assert done.out.splitlines()[0] == "4 1970-01-01T00:00:01.000000Z default /tasks/exit container_id=c id=c"
    assert done.err == "actr: 2 events are no longer in the journal\n"
    wish = daemon.bodies("events.subscribe")[0]
    assert (wish["after"], wish["follow"], wish["namespace"]) == (2, False, "default")


def test_events_after_a_number_that_is_not_there_yet(daemon, actr):
    daemon.on["events.subscribe"] = lambda asked: asked.fin({"instance": "i", "last": 5})
    done = actr("events", "--no-follow", "--since", "999")
    assert (done.out, done.err) == ("", "actr: there is no event 999 yet, the last one is 5\n")
    assert actr("events", "--no-follow", "--since", "5").err == ""


def test_events_as_json(daemon, actr):
    daemon.on["events.subscribe"] = journal
    assert json.loads(actr("events", "--no-follow", "--format", "json").out) == [
        event(4),
        event(5, 3 * SECOND),
    ]
    lines = actr("events", "--format", "json").out.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [4, 5]


def test_events_that_come_gathered(daemon, actr):
    def gathers(asked):
        asked.event(7, {"numbers": [4, 5, 7], "events": [pack(event(seq)) for seq in (4, 5, 7)]})
        asked.event(8, event(8))
        asked.err("unavailable", "actor ended", outcome="unknown")

    daemon.on["events.subscribe"] = [gathers, lambda asked: asked.fin({"instance": "i", "last": 8})]
    assert [line.split()[0] for line in actr("events").out.splitlines()] == ["4", "5", "7", "8"]
    assert [body["after"] for body in daemon.bodies("events.subscribe") if "after" in body] == [8]
    assert all(body["gather"] > 0 for body in daemon.bodies("events.subscribe"))


def test_events_of_a_time(daemon, actr):
    daemon.on["events.subscribe"] = journal
    done = actr("events", "--since", "10m", "--until", "1970-01-01T00:00:02Z", "--container", "web", "-A")
    assert len(done.out.splitlines()) == 1
    wish = daemon.bodies("events.subscribe")[0]
    assert abs(time.time_ns() - 600 * SECOND - wish["since"]) < 60 * SECOND
    assert (wish["container_id"], wish["namespace"], wish["follow"]) == (WEB_ID, "", False)


def test_events_go_on_where_they_were(daemon, actr):
    def dies(asked):
        asked.event(4, event(4))
        asked.err("unavailable", "actor ended", outcome="unknown")

    daemon.on["events.subscribe"] = [dies, lambda asked: (asked.event(5, event(5)), asked.fin({}))]
    assert [line.split()[0] for line in actr("events").out.splitlines()] == ["4", "5"]
    assert [body["after"] for body in daemon.bodies("events.subscribe") if "after" in body] == [4]


def test_a_time_that_is_none(daemon, actr):
    assert actr("events", "--since", "yesterday").code == 2


# actors, info, version


def actor(name, **fields):
    known = {"name": name, "kind": name.split("/")[0], "state": "running", "pid": 7, "incarnation": 2}
    return {**known, "restarts": 1, "memory": 4_200_000, "started_at": SECOND, **fields}


ACTORS = [actor("zygote"), actor("supervisor"), actor("router"), actor(f"container/default/{WEB_ID}")]


def test_the_tree(daemon, actr):
    daemon.answers("introspection.actors", {"actors": ACTORS})
    wanted = ("ACTOR", "zygote", "└─ supervisor", "   ├─ router", "   └─ default/3f2a3f2a3f2a")
    lines = actr("actors").out.splitlines()
    assert all(line.startswith(f"{name}  ") for line, name in zip(lines, wanted, strict=True))
    assert json.loads(actr("actors", "--format", "json").out) == ACTORS


def test_a_tree_without_its_top():
    assert [name for name, _ in tree([actor("router"), actor("events")])] == ["router", "events"]
    assert tree([]) == []


def test_what_does_not_run_has_no_process(daemon, actr):
    daemon.answers(
        "introspection.actors", {"actors": [actor("router", pid=0, state="restarting", started_at=0)]}
    )
    assert actr("actors").out.splitlines()[1].split()[2:] == ["restarting", "-", "2", "1", "-", "-"]


def test_info(daemon, actr):
    daemon.answers("introspection.info", {"version": "9.9", "kernel": "6.1"})
    assert actr("info").out == "version  9.9\nkernel   6.1\n"
    assert json.loads(actr("info", "--format", "json").out)["kernel"] == "6.1"


def test_version(daemon, actr):
    daemon.answers("introspection.version", {"version": "9.9", "protocol": "1.0", "node": "n1"})
    client, server = actr("version").out.splitlines()
    assert client.startswith("client  ")
    assert server == "daemon  9.9  protocol 1.0  node n1"
    assert json.loads(actr("version", "--format", "json").out)["daemon"]["version"] == "9.9"


def test_version_without_a_daemon(actr, tmp, monkeypatch):
    monkeypatch.setenv("ACTORD_ADDRESS", f"{tmp}/no.sock")
    done = actr("version")
    assert done.code == 1
    assert done.out.startswith("client  ")
    assert done.err.startswith(f"actr: no daemon answers at {tmp}/no.sock; start it with: actord --state DIR")
    assert actr("version", "--client").code == 0
    assert actr("run", "busybox").code == 125


@pytest.mark.parametrize("as_json", [False, True])
def test_a_reading_of_stats_reaches_a_pipe_at_once_and_clears_no_screen(monkeypatch, as_json):
    pipe = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(pipe), encoding="utf-8"))
    stats.show(SimpleNamespace(json=as_json), {}, {}, live=True)
    assert pipe.getvalue().startswith(b"[]" if as_json else b"CONTAINER")


def test_whom_a_failpoint_does_not_reach_is_said(daemon, actr):
    daemon.answers("failpoints.set", {})
    daemon.answers("introspection.actors", {"actors": ACTORS})
    done = actr("chaos", "set", "puller.work.before", "kill")
    assert (done.code, done.out, done.err) == (0, "supervisor\n", "")
    running = [actor(f"container/default/{x}") for x in "ab"]
    daemon.answers("introspection.actors", {"actors": [actor("container/default/0", pid=0), *running]})
    done = actr("chaos", "set", "container.save.written", "kill")
    assert done.out == "supervisor\n"
    assert "the 2 that run are reached by --actor container/default/a\n" in done.err
    daemon.answers("introspection.actors", {"actors": running[:1]})
    assert "the one that runs is reached by" in actr("chaos", "set", "container.save.written", "off").err
    for words in (("zygote.fork.before", "kill"), ("container.x.y", "off", "--actor", "container/default/a")):
        assert actr("chaos", "set", *words).err == ""


def _lists(daemon, *records):
    """Brief ones have no labels, as the daemon's."""

    def script(asked):
        brief = asked.body["brief"]
        found = [{key: one[key] for key in one if key != "labels" or not brief} for one in records]
        asked.fin({"containers": found})

    daemon.on["containers.list"] = script


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["name=eb"], ["web"]),
        (["name=eb", "name=db"], ["web", "db"]),
        (["name=eb", "id=ffff"], []),
        (["label=tier"], ["web", "db"]),
        (["label=tier=front"], ["web"]),
        (["label=tier", "label=owner"], ["db"]),
        (["status=exited"], ["done"]),
        (["status=running"], ["web", "db"]),
        (["ancestor=busybox"], ["web"]),
        (["ancestor=busybox:latest", "ancestor=nginx:1"], ["web", "db"]),
    ],
    ids=" ".join,
)
def test_containers_by_what_they_are(daemon, actr, filters, names):
    web = {**WEB, "labels": {"tier": "front"}, "created_at": 9}
    db = {**WEB, "id": "00" * 32, "name": "db", "labels": {"tier": "back", "owner": "a"}, "created_at": 8}
    db["image"] = "docker.io/library/nginx:1"
    done = {**db, "id": "11" * 32, "name": "done", "labels": {}, "task": {"status": "stopped"}}
    done["image"] = "docker.io/library/other:1"
    _lists(daemon, web, db, done)
    words = [word for one in filters for word in ("-f", one)]
    assert actr("ps", "--names", *words).out.splitlines() == names
    found = json.loads(actr("ps", "--format", "json", *words).out)
    assert [one["name"] for one in found] == names


@pytest.mark.parametrize("text", ["name", "name=", "colour=red", "status=up", "ancestor=A B"])
def test_a_filter_that_makes_no_sense(daemon, actr, text):
    done = actr("ps", "--filter", text)
    assert done.code == 2
    assert "--filter" in done.err


def test_inspect_by_a_template(daemon, actr, monkeypatch):
    monkeypatch.setattr("cli.table._templates", [])  # which lasts as long as a process
    assert actr("inspect", "-f", "{{.Task.Pid}}", "web").out == "4711\n"


def test_advice_is_not_given_twice(daemon, actr):
    daemon.refuses("tasks.kill", "failed_precondition", "container web is not running; see actr ps -a")
    assert actr("kill", "web").err == "actr: container web is not running; see actr ps -a\n"
