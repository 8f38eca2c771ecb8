"""run, create, exec, logs, start: output byte for byte, exit codes, and crashes on the way."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

from cli.main import main
from tests.unit.cli.conftest import WEB, WEB_ID

IMAGE = {"name": "docker.io/library/busybox:latest", "updated_at": 1 << 62, "target": {}}
BINARY = bytes(range(256))


def created(asked):
    identity = asked.body["id"]
    name = asked.body["name"] or identity
    asked.fin({"id": identity, "name": name, "actor": f"container/default/{identity}"})


@pytest.fixture
def made(daemon):
    """Every container is created, prints nothing and ends with 0 unless a test says otherwise."""
    daemon.on["containers.create"] = created
    daemon.answers("tasks.output", {"exit_code": 0})
    return daemon


def ends(code):
    return lambda asked: asked.fin({"exit_code": code, "exited_at": 1, "error": ""})


def test_output_and_exit_code(made, actr):
    def script(asked):
        asked.output(1, 0, BINARY)
        asked.output(2, 0, b"oops\n")
        ends(7)(asked)

    made.on["tasks.output"] = script
    done = actr("run", "--rm", "busybox", "sh", "-c", "exit 7")
    assert done.code == 7
    assert done.out.encode("utf-8", "surrogateescape") == BINARY
    assert done.err == "oops\n"
    assert made.ops() == ["containers.create", "tasks.output"]
    body = made.bodies("containers.create")[0]
    assert (body["wanted"], body["auto_remove"], body["image"]) == ("running", True, "busybox")
    assert body["options"] == {"args": ["sh", "-c", "exit 7"]}
    assert made.asked[1].to == f"container/default/{body['id']}"
    assert made.bodies("tasks.output")[0] == {"stdout": 0, "stderr": 0, "follow": True, "exec_id": ""}


def test_all_options(made, actr, tmp, monkeypatch):
    monkeypatch.setenv("HERE", "yes")
    monkeypatch.delenv("NOWHERE", raising=False)
    (tmp / "env").write_text("# comment\nFROM_FILE=1\n\nHERE\n")
    words = "--name web -e A=1 -e HERE -e NOWHERE -w /tmp -u 1000:1000 --hostname h --entrypoint /bin/sh"
    more = "--label a=b --read-only --runtime crun --platform linux/arm64"
    done = actr(
        "-n", "other", "run", "--env-file", tmp / "env", *words.split(), *more.split(), "busybox", "-x"
    )
    assert done.code == 0
    body = made.bodies("containers.create")[0]
    assert (body["namespace"], body["name"], body["runtime"]) == ("other", "web", "crun")
    assert body["labels"] == {"a": "b"}
    assert not body["auto_remove"]
    assert body["options"] == {
        "args": ["-x"],
        "env": ["FROM_FILE=1", "HERE=yes", "A=1", "HERE=yes"],
        "cwd": "/tmp",
        "user": "1000:1000",
        "hostname": "h",
        "entrypoint": ["/bin/sh"],
        "readonly": True,
        "platform": "linux/arm64",
    }


def test_output_goes_on_after_actor_and_router_died(made, actr):
    def dead_actor(asked):
        asked.output(1, 0, b"one\n")
        asked.output(2, 0, b"x")
        asked.err("unavailable", "actor ended", outcome="unknown")

    def dead_router(asked):
        made.die()

    def healthy(asked):
        asked.output(1, asked.body["stdout"] - 2, b"e\ntwo\n")  # what overlaps is not written twice
        ends(3)(asked)

    made.on["tasks.output"] = [dead_actor, dead_router, healthy]
    done = actr("run", "busybox")
    assert (done.code, done.out, done.err) == (3, "one\ntwo\n", "x")
    assert [body["stdout"] for body in made.bodies("tasks.output")] == [0, 4, 4]
    assert [body["stderr"] for body in made.bodies("tasks.output")] == [0, 1, 1]


def test_one_that_removed_itself_is_found_in_the_journal(made, actr):
    identity = []

    def journal(asked):
        assert asked.body["topic"] == "/tasks/exit"
        for seq, (who, code) in enumerate([("exec1", 9), (identity[0], 5), ("exec2", 8)], 1):
            asked.event(seq, {"body": {"container_id": identity[0], "id": who, "exit_status": code}})
        asked.fin({"last": 3})

    made.on["containers.create"] = lambda asked: (identity.append(asked.body["id"]), created(asked))
    made.on["tasks.output"] = lambda asked: asked.err("not_found", f"no actor is named {asked.to}")
    made.refuses("containers.get", "not_found")
    made.on["events.subscribe"] = journal
    assert actr("run", "--rm", "busybox").code == 5


def test_an_actor_on_its_way_back_is_waited_for(made, actr):
    made.on["tasks.output"] = [lambda asked: asked.err("not_found", "no actor"), ends(4)]
    assert actr("run", "busybox").code == 4


def test_an_unknown_exit_code_is_said(made, actr):
    made.answers("tasks.output", {"exit_code": None, "exited_at": 1, "error": ""})
    done = actr("run", "--name", "web", "busybox")
    assert done.code == 255
    assert done.err == "actr: the exit code of web is unknown: nothing watched when it ended\n"


@pytest.mark.parametrize("code", [126, 127])
@pytest.mark.parametrize("detach", [True, False])
def test_a_program_that_cannot_be_started_leaves_nothing_behind(made, actr, code, detach):
    details = {"exit_code": code}
    for op in ("tasks.output", "tasks.start"):
        made.refuses(op, "failed_precondition", "exec: nope: not found", outcome="done", details=details)
    made.answers("containers.remove", {})
    done = actr("run", *(["-d"] if detach else []), "busybox", "nope")
    assert (done.code, done.out, done.err) == (code, "", "actr: exec: nope: not found\n")
    assert made.bodies("containers.remove") == [{"force": True}]


def test_detached(made, actr):
    made.answers("tasks.start", {"status": "running", "pid": 5})
    done = actr("run", "-d", "--name", "web", "busybox", "sleep", "9")
    body = made.bodies("containers.create")[0]
    assert (done.code, done.out) == (0, body["id"] + "\n")
    assert body["wanted"] == "stopped"
    assert made.ops() == ["containers.create", "tasks.start"]


@pytest.mark.parametrize(
    ("phase", "run", "wanted"), [("running", 1, 1), ("exited", 1, 2), ("created", 0, 1), ("starting", 2, 2)]
)
def test_a_start_of_unknown_outcome_is_asked_for_again_by_its_number(made, actr, phase, run, wanted):
    died = ("unavailable", "actor ended")
    made.on["tasks.start"] = [lambda asked: asked.err(*died, outcome="unknown"), lambda asked: asked.fin({})]
    made.answers("tasks.state", {"phase": phase, "run": run})
    assert actr("start", "web").out == "web\n"
    assert made.bodies("tasks.start") == [{"run": wanted}] * 2


def test_a_container_that_has_removed_itself_was_started(made, actr):
    made.answers("tasks.state", {"phase": "created", "run": 0})
    made.on["tasks.start"] = [
        lambda asked: asked.err("unavailable", "actor ended", outcome="unknown"),
        lambda asked: asked.err("not_found", "no actor is named so"),
    ]
    known = made.on.get("containers.get")
    made.on["containers.get"] = [lambda asked: asked.fin(WEB), lambda asked: asked.err("not_found", "gone")]
    done = actr("start", "web")
    made.on["containers.get"] = known
    assert (done.code, done.out) == (0, "web\n")


@pytest.mark.parametrize("recorded", [True, False])
def test_a_create_of_unknown_outcome_is_looked_up(made, actr, recorded):
    made.on["containers.create"] = [
        lambda asked: asked.err("unavailable", "actor ended", outcome="unknown"),
        created,
    ]
    if not recorded:
        made.refuses("containers.get", "not_found")
    made.answers("children.start", {"actor": WEB["actor"]})
    assert actr("run", "busybox").code == 0
    assert made.ops().count("containers.create") == (1 if recorded else 2)
    assert made.ops().count("children.start") == (1 if recorded else 0)
    ids = {body["id"] for body in made.bodies("containers.create")}
    assert ids == {made.bodies("containers.get")[0]["id"]}


def test_a_missing_image_is_pulled(made, actr):
    made.on["containers.create"] = [lambda asked: asked.err("not_found", 'image "x" not found'), created]
    made.refuses("images.get", "not_found")
    made.answers("images.pull", {"actor": "puller/default/1"})
    made.answers("transfers.attach", IMAGE)
    assert actr("run", "busybox").code == 0
    wanted = ["containers.create", "images.get", "images.pull", "transfers.attach", "containers.create"]
    assert made.ops()[:5] == wanted


def test_never_pull(made, actr):
    made.refuses("containers.create", "not_found", 'image "busybox" not found in namespace "default"')
    done = actr("run", "--pull", "never", "busybox")
    assert done.code == 125
    assert done.err.strip().endswith("; pull it first: actr pull busybox")
    assert made.ops() == ["containers.create"]


def test_a_name_in_use(made, actr):
    made.refuses("containers.create", "already_exists", "name web is taken")
    done = actr("run", "--name", "web", "busybox")
    assert (done.code, done.err) == (125, "actr: name web is taken; for example: actr rm -f web\n")


def test_signals_are_passed_on_and_the_third_detaches(made, actr):
    """The daemon's thread signals the process, whose main thread waits for output."""

    def kill(asked):
        asked.fin({})
        os.kill(os.getpid(), signal.SIGTERM)

    made.on["tasks.kill"] = kill
    made.on["tasks.output"] = lambda _: os.kill(os.getpid(), signal.SIGINT)
    done = actr("run", "--name", "web", "busybox")
    assert done.code == 128 + signal.SIGTERM
    assert made.bodies("tasks.kill") == [
        {"signal": signal.SIGINT, "exec_id": ""},
        {"signal": signal.SIGTERM, "exec_id": ""},
    ]
    assert "once more to detach" in done.err
    assert "detached; web goes on" in done.err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_that_is_the_programs_own_is_passed_on_however_often(made, actr):
    """One that rotates its logs by it, say; actr ended of it, and left the container."""

    def kill(asked):
        asked.fin({})
        if len(made.bodies("tasks.kill")) < 4:
            os.kill(os.getpid(), signal.SIGUSR1)
        else:
            ends(7)(made.waiting)

    def follow(asked):
        made.waiting = asked
        os.kill(os.getpid(), signal.SIGUSR1)

    made.on["tasks.kill"] = kill
    made.on["tasks.output"] = follow
    done = actr("run", "--name", "web", "busybox")
    assert (done.code, done.err) == (7, "")
    assert made.bodies("tasks.kill") == 4 * [{"signal": signal.SIGUSR1, "exec_id": ""}]


def interrupt(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("words", [("run", "--rm"), ("run", "-d"), ("create",)], ids=" ".join)
def test_ctrl_c_while_it_is_being_created_leaves_nothing_behind(made, actr, words):
    """Its answer is on its way, or never comes."""
    made.on["containers.create"] = lambda _: os.kill(os.getpid(), signal.SIGINT)
    made.answers("children.start", {"actor": WEB["actor"]})
    made.answers("containers.remove", {})
    done = actr(*words, "busybox")
    assert (done.code, done.out, done.err) == (130, "", "")
    assert made.bodies("containers.remove") == [{"force": True}]
    assert made.bodies("containers.get")[0]["id"] == made.bodies("containers.create")[0]["id"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize("words", [("run", "--rm"), ("run", "-d"), ("create",)], ids=" ".join)
def test_a_signal_while_it_is_being_created_leaves_nothing_behind(made, actr, words, number):
    """Of `timeout`, or a terminal that is closed: the container would have gone on, known to nobody."""
    before = signal.getsignal(number)
    made.on["containers.create"] = lambda _: os.kill(os.getpid(), number)
    made.answers("children.start", {"actor": WEB["actor"]})
    made.answers("containers.remove", {})
    signal.signal(number, signal.SIG_DFL)
    done = actr(*words, "busybox")
    assert (done.code, done.out, done.err) == (128 + number, "", "")
    assert made.bodies("containers.remove") == [{"force": True}]
    assert signal.getsignal(number) is signal.SIG_DFL
    signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_that_finds_no_process_yet_takes_the_container_back(made, actr, number):
    """It was said not to be delivered, and the container started all the same."""
    made.on["tasks.output"] = lambda _: os.kill(os.getpid(), number)
    made.refuses("tasks.kill", "failed_precondition", "container web is not running")
    made.answers("tasks.state", {"phase": "preparing", "run": 1, "error": ""})
    made.answers("children.start", {"actor": WEB["actor"]})
    made.answers("containers.remove", {})
    done = actr("run", "busybox")
    assert (done.code, done.out, done.err) == (128 + number, "", "")
    assert made.bodies("containers.remove") == [{"force": True}]


@pytest.mark.parametrize("found", [{"phase": "exited", "run": 1}, {"phase": "preparing", "run": 2}], ids=str)
def test_a_signal_that_comes_after_the_end_takes_nothing_back(made, actr, found):
    """Nor between that and the next start, which a policy makes."""

    def late(asked):
        os.kill(os.getpid(), signal.SIGTERM)
        made.waiting = asked

    made.on["tasks.output"] = late
    made.refuses("tasks.kill", "failed_precondition", "container web is not running")

    def state(asked):
        asked.fin({**found, "error": ""})
        ends(4)(made.waiting)

    made.on["tasks.state"] = state
    done = actr("run", "busybox")
    assert done.code == 4
    assert "signal SIGTERM was not delivered" in done.err
    assert made.bodies("containers.remove") == []


def test_a_second_signal_does_not_keep_it_from_being_taken_back(made, actr):
    made.on["containers.create"] = lambda _: os.kill(os.getpid(), signal.SIGINT)
    made.answers("children.start", {"actor": WEB["actor"]})

    def remove(asked):
        os.kill(os.getpid(), signal.SIGINT)
        asked.fin({})

    made.on["containers.remove"] = remove
    done = actr("run", "--rm", "busybox")
    assert (done.code, done.out) == (130, "")
    assert done.err == "actr: taking back what was begun; once more to leave it\n"
    assert made.bodies("containers.remove") == [{"force": True}]


@pytest.mark.parametrize(("words", "place"), [((), "cli.attach.attach"), (("-d",), "cli.start.start_once")])
def test_ctrl_c_before_anybody_knows_of_it_leaves_nothing_behind(made, actr, monkeypatch, words, place):
    monkeypatch.setattr(place, interrupt)
    made.answers("children.start", {"actor": WEB["actor"]})
    made.answers("containers.remove", {})
    assert actr("run", *words, "busybox").code == 130
    assert made.bodies("containers.remove") == [{"force": True}]


def test_ctrl_c_before_it_is_on_record_asks_for_nothing_more(made, actr):
    made.on["containers.create"] = lambda _: os.kill(os.getpid(), signal.SIGINT)
    made.refuses("containers.get", "not_found")
    assert actr("run", "busybox").code == 130
    assert made.ops() == ["containers.create", "containers.get"]


def test_what_cannot_be_taken_back_is_said(made, actr):
    made.on["containers.create"] = lambda _: os.kill(os.getpid(), signal.SIGINT)
    made.refuses("children.start", "failed_precondition", "no memory")
    done = actr("run", "busybox")
    left = made.bodies("containers.create")[0]["id"][:12]
    assert (done.code, done.err) == (130, f"actr: {left} may be left behind: no memory\n")


def test_ctrl_c_after_its_end_takes_nothing_back(made, actr, monkeypatch):
    monkeypatch.setattr("cli.attach.own_exit_code", interrupt)
    assert actr("run", "busybox").code == 130
    assert made.ops() == ["containers.create", "tasks.output"]


def test_ctrl_c_elsewhere_is_quiet(daemon, actr):
    daemon.on["containers.list"] = lambda _: os.kill(os.getpid(), signal.SIGINT)
    done = actr("ps")
    assert (done.code, done.out, done.err) == (130, "", "")


def test_create(made, actr):
    done = actr("create", "busybox")
    assert done.out == made.bodies("containers.create")[0]["id"] + "\n"
    assert made.bodies("containers.create")[0]["wanted"] == "stopped"


# exec


def test_exec(daemon, actr):
    daemon.answers("tasks.exec", {})
    daemon.answers("tasks.exec_delete", {})

    def script(asked):
        asked.output(1, 0, b"hi\n")
        ends(9)(asked)

    daemon.on["tasks.output"] = script
    done = actr("exec", "-e", "A=1", "-w", "/", "-u", "1", "web", "echo", "-n", "hi")
    assert (done.code, done.out) == (9, "hi\n")
    asked = daemon.bodies("tasks.exec")[0]
    assert asked["args"] == ["echo", "-n", "hi"]
    assert (asked["env"], asked["cwd"], asked["user"]) == (["A=1"], "/", "1")
    assert daemon.bodies("tasks.output")[0]["exec_id"] == asked["exec_id"]
    assert daemon.bodies("tasks.exec_delete") == [{"exec_id": asked["exec_id"]}]
    assert {one.to for one in daemon.asked[1:]} == {f"container/default/{WEB_ID}"}


def test_exec_of_a_missing_binary(daemon, actr):
    details = {"exit_code": 127}
    daemon.refuses("tasks.exec", "failed_precondition", "no such file", outcome="done", details=details)
    assert actr("exec", "web", "nope").code == 127


def test_exec_in_a_stopped_container(daemon, actr):
    daemon.refuses("tasks.exec", "failed_precondition", "container web is not running")
    done = actr("exec", "web", "true")
    assert done.code == 125
    assert done.err.startswith("actr: container web is not running; start it first")


@pytest.mark.parametrize("words", [(), ("-d",)])
def test_ctrl_c_while_an_exec_is_being_started_ends_it(daemon, actr, words):
    daemon.on["tasks.exec"] = [
        lambda _: os.kill(os.getpid(), signal.SIGINT),
        lambda asked: asked.fin({"pid": 7}),
    ]
    daemon.on["tasks.state"] = lambda asked: asked.fin(
        {"execs": {daemon.bodies("tasks.exec")[0]["exec_id"]: {"phase": "starting"}}}
    )
    daemon.answers("tasks.kill", {})
    done = actr("exec", *words, "web", "sleep", "9")
    assert (done.code, done.out, done.err) == (130, "", "")
    first, again = daemon.bodies("tasks.exec")
    assert first == again
    assert daemon.bodies("tasks.kill") == [{"signal": signal.SIGKILL, "exec_id": first["exec_id"]}]


def test_an_exec_that_has_not_begun_is_not_begun_by_ctrl_c(daemon, actr):
    daemon.on["tasks.exec"] = lambda _: os.kill(os.getpid(), signal.SIGINT)
    daemon.answers("tasks.state", {"execs": {}})
    assert actr("exec", "web", "sleep", "9").code == 130
    assert daemon.ops() == ["containers.get", "tasks.exec", "tasks.state"]


# logs


def lines(asked):
    asked.output(1, 0, b"1\n2\n3\nhal", at=1_700_000_000 * 10**9)
    asked.output(2, 0, b"err\n", at=1_700_000_001 * 10**9)
    asked.output(1, 9, b"f\n", at=1_700_000_002 * 10**9)
    asked.fin({})


def test_logs(daemon, actr):
    daemon.on["tasks.output"] = lines
    done = actr("logs", "web")
    assert (done.out, done.err) == ("1\n2\n3\nhalf\n", "err\n")
    assert not daemon.bodies("tasks.output")[0]["follow"]


def test_the_last_lines_then_what_comes(daemon, actr):
    def follow(asked):
        asked.output(1, asked.body["stdout"], b"more\n")
        ends(1)(asked)

    daemon.on["tasks.output"] = [lines, follow]
    done = actr("logs", "-f", "--tail", "2", "web")
    assert (done.code, done.out, done.err) == (0, "half\nmore\n", "err\n")
    assert daemon.bodies("tasks.output")[1] == {"stdout": 11, "stderr": 4, "follow": True, "exec_id": ""}


def test_timestamps(daemon, actr):
    daemon.on["tasks.output"] = lines
    done = actr("logs", "-t", "web")
    first, *_, last = done.out.splitlines()
    assert first == "2023-11-14T22:13:20.000000Z 1"
    assert last == "2023-11-14T22:13:20.000000Z half"
    assert done.err == "2023-11-14T22:13:21.000000Z err\n"


@contextlib.contextmanager
def no_reader():
    """Nobody reads our standard output."""
    reading, writing = os.pipe()
    os.close(reading)
    stdout = os.dup(1)
    os.dup2(writing, 1)
    os.close(writing)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def test_a_reader_that_has_enough(daemon, capfd):
    """As in `actr logs web | head -1`."""
    daemon.on["tasks.output"] = lines
    with no_reader():
        assert main(["logs", "web"]) == 1
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "goes_on"),
    [
        (["run", "--rm", "--name", "web", "busybox"], "web goes on: actr attach web, actr stop web"),
        (["attach", "web"], "web goes on: actr attach web, actr stop web"),
        (["exec", "web", "yes"], "the process in web goes on"),
    ],
    ids=["run", "attach", "exec"],
)
def test_what_runs_goes_on_without_a_reader_and_that_is_said(made, capfd, words, goes_on):
    """As with docker, with --rm too."""
    made.answers("tasks.exec", {"pid": 1})
    made.on["tasks.output"] = lines
    with no_reader():
        assert main(words) == 1
    assert capfd.readouterr().err == f"actr: standard output: broken pipe; {goes_on}\n"
    assert not {"tasks.kill", "tasks.stop", "containers.remove"} & set(made.ops())


@pytest.mark.parametrize("task", [None, {"status": "created"}])
def test_one_that_was_never_started_is_not_attached_to(made, actr, task):
    made.answers("containers.get", {**WEB, "task": task})
    made.answers("tasks.state", {"phase": "created", "run": 0, "error": ""})
    done = actr("attach", "web")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "actr: container web has not been started: start it first, or at once: actr start -a web\n"
    )
    assert "tasks.output" not in made.ops()


@pytest.mark.parametrize(
    "state", [{"phase": "running"}, {"phase": "starting"}, {"phase": "created", "error": "no"}]
)
def test_one_whose_record_lags_behind_is_attached_to(made, actr, state):
    made.answers("containers.get", {**WEB, "task": None})
    made.answers("tasks.state", state)
    made.on["tasks.output"] = ends(6)
    assert actr("attach", "web").code == 6


@pytest.mark.parametrize("verb", ["run", "create"])
def test_the_id_goes_into_a_file_that_was_not_there(made, actr, tmp, verb):
    seen = []
    made.on["containers.create"] = lambda asked: (seen.append((tmp / "cid").read_text()), created(asked))
    assert actr(verb, "--cidfile", tmp / "cid", "busybox").code == 0
    identity = made.bodies("containers.create")[0]["id"]
    assert (seen, (tmp / "cid").read_text()) == ([identity], identity)
    done = actr(verb, "--cidfile", tmp / "cid", "busybox")
    assert (done.code, len(made.bodies("containers.create"))) == (2, 1)
    assert "is there already" in done.err
    assert (tmp / "cid").read_text() == identity


def test_there_is_no_id_of_what_was_not_created(made, actr, tmp):
    made.refuses("containers.create", "already_exists", "container exists")
    assert actr("run", "--cidfile", tmp / "cid", "busybox").code == 125
    assert not (tmp / "cid").exists()


@pytest.mark.parametrize("text", ["db:10.0.0.1", "db=10.0.0.1"])
def test_a_host_is_added_either_way(made, actr, text):
    assert actr("run", "--add-host", text, "--net", "bridge", "busybox").code == 0
    assert made.bodies("containers.create")[0]["options"]["network"]["hosts"] == [["10.0.0.1", "db"]]
