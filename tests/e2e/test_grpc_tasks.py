"""What a re-implementation of containerd's task service gets wrong, by a gRPC client of our own."""

from __future__ import annotations

import contextlib
import json
import os
import select
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from daemon import Daemon, wait_until
from gateway_api import CONTAINERS, TASKS, Api, refusal, serving

from transport.grpc.interface import message
from transport.grpc.server import WORKERS

if TYPE_CHECKING:
    import io

VERSION = "containerd.services.version.v1.Version"
AT_MOST = 20  # requests that a daemon with one container makes in three seconds of its own accord

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]


def test_the_order_of_an_instant_exit(api: Api, root: Path):
    seen = api.heard("topic~=|^/tasks/|")
    name = api.container(root, "true")
    made = api.task("Create", container_id=name)
    assert api.task("Get", container_id=name).process.status == 1
    assert api.task("Start", container_id=name).pid == made.pid > 0
    waited = api.task("Wait", container_id=name)
    got = api.task("Get", container_id=name).process
    assert (got.id, got.status) == (name, 3)
    assert api.refused("Kill", container_id=name, signal=9)[0] == "NOT_FOUND"
    assert not api.task("ListPids", container_id=name).processes
    assert api.refused("Exec", container_id=name, exec_id="late")[0] == "FAILED_PRECONDITION"
    gone = api.task("Delete", container_id=name)
    assert api.refused("Get", container_id=name)[0] == "NOT_FOUND"
    wait_until("all has been told", lambda: any(topic == "/tasks/delete" for topic, _ in seen))
    own = [(topic, body) for topic, body in seen if topic.startswith("/tasks/") and body.container_id == name]
    assert [topic for topic, _ in own] == ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"]
    times = [one.exited_at for one in (waited, got, gone, own[2][1], own[3][1])]
    assert all(one == times[0] for one in times)


def test_an_actor_that_dies_while_it_lets_the_program_run(root: Path, tmp: Path):
    """What runc's init waited for has been read, and nobody has said so: it is not waited for again."""
    (tmp / "d").mkdir()
    with serving(tmp / "d", "--failpoints") as (daemon, api):
        daemon.actr("chaos", "set", "container.let_go.read", "kill(count=1)")
        name = api.container(root, "sh", "-c", "echo once >>/count; exit 6")
        made = api.task("Create", container_id=name)
        assert api.task("Start", container_id=name).pid == made.pid
        assert api.task("Wait", container_id=name).exit_status == 6
        assert "ended with status 9" in daemon.log.read_text()
        assert (root / "count").read_text() == "once\n"
        api.task("Delete", container_id=name)


def test_an_actor_that_dies_before_what_it_has_created_is_on_record(root: Path, tmp: Path):
    """That is ended and made again: between the two its client must not read that its output is over."""
    (tmp / "d").mkdir()
    os.mkfifo(tmp / "out")
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append((tmp / "out").read_bytes()), daemon=True)
    reader.start()
    with serving(tmp / "d", "--failpoints") as (daemon, api):
        daemon.actr("chaos", "set", "container.create.unrecorded", "kill(count=1)")
        name = api.container(root, "echo", "hello")
        api.task("Create", container_id=name, stdout=str(tmp / "out"))
        assert "ended with status 9" in daemon.log.read_text()
        api.task("Start", container_id=name)
        assert api.task("Wait", container_id=name).exit_status == 0
        api.task("Delete", container_id=name)
        reader.join(20)
        assert heard == [b"hello\n"]


def test_a_create_that_fails(api: Api, root: Path):
    name = api.container(root, "no-such-program")
    code, text = api.refused("Create", container_id=name)
    assert code == "UNKNOWN"
    assert "executable file not found" in text
    assert api.refused("Get", container_id=name)[0] == "NOT_FOUND"
    api.ask(CONTAINERS, "Delete", id=name)


def test_one_that_is_held_is_ended_by_its_deletion(api: Api, root: Path):
    """Its client has given it up before the start; nothing of the program has run."""
    seen = api.heard("topic~=|^/tasks/|")
    name = api.container(root, "sh", "-c", "echo ran >>/count")
    made = api.task("Create", container_id=name)
    gone = api.task("Delete", container_id=name)
    assert (gone.pid, gone.exit_status) == (made.pid, 137)
    assert api.refused("Get", container_id=name)[0] == "NOT_FOUND"
    wait_until("all has been told", lambda: any(topic == "/tasks/delete" for topic, _ in seen))
    assert [topic for topic, _ in seen if topic.startswith("/tasks/")] == [
        "/tasks/create", "/tasks/exit", "/tasks/delete",
    ]  # fmt: skip
    assert not (root / "count").exists()
    api.task("Create", container_id=name)
    asked = [api.begin(TASKS, "Delete", container_id=name) for _ in range(4)]
    assert sorted(one.code().name for one in asked) == ["NOT_FOUND"] * 3 + ["OK"]
    api.ask(CONTAINERS, "Delete", id=name)


@pytest.mark.parametrize(
    "wrong",
    [
        {"stdout": "/a\0b"},
        {"stdout": "binary:///a%00b", "stderr": "binary:///a%00b"},
        {"options": {"type_url": "containerd.runc.v1.Options", "value": b"\xff"}},
    ],
    ids=["name", "logger", "options"],
)
def test_what_makes_no_sense_is_an_error_of_its_client(api: Api, root: Path, wrong: dict[str, Any]):
    """And not one of the container's actor, which would make it with each incarnation, and remove nothing."""
    name = api.container(root, "sleep", "1000")
    assert api.refused("Create", container_id=name, **wrong)[0] in ("INVALID_ARGUMENT", "UNKNOWN")
    api.task("Create", container_id=name)
    api.task("Start", container_id=name)
    if "options" not in wrong:
        asked = {"container_id": name, "exec_id": "one", **wrong}
        with contextlib.suppress(grpc.RpcError):
            api.task("Exec", **asked, spec=process_of("true"))
            api.refused("Start", container_id=name, exec_id="one")
    api.end(name)


def test_a_specification_that_is_none_keeps_no_container_from_going(api: Api, root: Path):
    spec = {"process": {"args": ["true"], "cwd": "/"}, "linux": {"namespaces": ["pid"]}}
    given = api.ask(CONTAINERS, "Get", id=api.container(root, "true")).container
    given.id, given.spec.value = f"{given.id}s", json.dumps(spec).encode()
    api.ask(CONTAINERS, "Create", container=given)
    code, text = api.refused("Create", container_id=given.id)
    assert (code, "linux.namespaces is not a list of objects" in text) == ("UNKNOWN", True)
    api.ask(CONTAINERS, "Delete", id=given.id)


def process_of(script: str) -> Any:
    """Of an exec, as clients pack it."""
    process = {"args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"]}
    return message("google.protobuf.Any")(value=json.dumps(process).encode())


def test_execs(api: Api, root: Path):
    name = api.container(root, "sleep", "1000")
    api.task("Create", container_id=name)
    api.task("Start", container_id=name)
    assert api.refused("Create", container_id=name)[0] == "ALREADY_EXISTS"
    assert api.refused("Start", container_id=name)[0] == "UNKNOWN"
    process = process_of("exit 5")
    api.task("Exec", container_id=name, exec_id="one", spec=process)
    assert api.refused("Exec", container_id=name, exec_id="one", spec=process)[0] == "ALREADY_EXISTS"
    api.task("Exec", container_id=name, exec_id="never", spec=process)
    assert api.task("DeleteProcess", container_id=name, exec_id="never").exit_status == 0
    api.task("ResizePty", container_id=name, width=80, height=24)  # there is no terminal, which is no error
    api.task("ResizePty", container_id=name, exec_id="one", width=80, height=24)
    assert api.task("Start", container_id=name, exec_id="one").pid > 0
    assert api.task("Wait", container_id=name, exec_id="one").exit_status == 5
    assert api.task("DeleteProcess", container_id=name, exec_id="one").exit_status == 5
    assert api.refused("Delete", container_id=name)[0] == "FAILED_PRECONDITION"
    api.task("Kill", container_id=name, signal=0)
    api.task("Kill", container_id=name, signal=9)
    assert api.task("Wait", container_id=name).exit_status == 137
    assert api.refused("Kill", container_id=name, signal=0)[0] == "NOT_FOUND"
    api.task("Delete", container_id=name)
    api.ask(CONTAINERS, "Delete", id=name)


def test_an_exec_whose_start_has_failed_is_as_before(api: Api, root: Path):
    """It can be started once more, when the reason is gone; or deleted, and its id used again."""
    name = api.container(root, "sleep", "1000")
    api.task("Create", container_id=name)
    api.task("Start", container_id=name)
    late = process_of("exit 6")
    late.value = late.value.replace(b'"sh"', b'"late"')
    api.task("Exec", container_id=name, exec_id="one", spec=late)
    code, text = api.refused("Start", container_id=name, exec_id="one")
    assert (code, "executable file not found" in text) == ("UNKNOWN", True)
    assert api.task("Get", container_id=name, exec_id="one").process.status == 1
    assert api.refused("Kill", container_id=name, exec_id="one", signal=9)[0] == "FAILED_PRECONDITION"
    assert "executable file not found" in api.refused("Wait", container_id=name, exec_id="one")[1]
    (root / "bin/late").write_text("#!/bin/sh\nexit 6\n")
    (root / "bin/late").chmod(0o755)
    assert api.task("Start", container_id=name, exec_id="one").pid > 0
    assert api.task("Wait", container_id=name, exec_id="one").exit_status == 6
    assert api.refused("Start", container_id=name, exec_id="one")[0] == "UNKNOWN"
    assert api.task("DeleteProcess", container_id=name, exec_id="one").exit_status == 6
    (root / "bin/late").unlink()
    api.task("Exec", container_id=name, exec_id="one", spec=late)
    assert api.refused("Start", container_id=name, exec_id="one")[0] == "UNKNOWN"
    assert api.task("DeleteProcess", container_id=name, exec_id="one").exit_status == 0
    api.task("Exec", container_id=name, exec_id="one", spec=process_of("exit 7"))
    api.task("Start", container_id=name, exec_id="one")
    assert api.task("Wait", container_id=name, exec_id="one").exit_status == 7
    api.end(name)


def test_one_that_is_held_cannot_be_paused(api: Api, root: Path):
    """What holds it would not let it go before it is resumed."""
    name = api.container(root, "true")
    api.task("Create", container_id=name)
    code, text = api.refused("Pause", container_id=name)
    assert (code, text) == ("UNKNOWN", f"task {name} has not been started")
    api.task("Start", container_id=name)
    assert api.task("Wait", container_id=name).exit_status == 0
    api.end(name)


def test_more_clients_may_wait_than_there_are_threads(api: Api, root: Path):
    """For one container and for its execs; everybody else is served meanwhile."""
    name = api.container(root, "sleep", "1000")
    api.task("Create", container_id=name)
    api.task("Start", container_id=name)
    api.task("Exec", container_id=name, exec_id="one", spec=process_of("sleep 1000"))
    api.task("Start", container_id=name, exec_id="one")
    waiting = [api.begin(TASKS, "Wait", container_id=name) for _ in range(WORKERS)]
    on_exec = [api.begin(TASKS, "Wait", container_id=name, exec_id="one") for _ in range(WORKERS)]
    assert api.ask(VERSION, "Version").version
    api.task("Kill", container_id=name, exec_id="one", signal=9)
    assert {one.result().exit_status for one in on_exec} == {137}
    assert api.task("Get", container_id=name).process.status == 2
    api.task("Kill", container_id=name, signal=9)
    assert {one.result().exit_status for one in waiting} == {137}
    api.end(name)


def test_who_waits_for_an_exec_asks_once(gateway: Daemon, api: Api, root: Path):
    name = api.container(root, "sleep", "1000")
    api.task("Create", container_id=name)
    api.task("Start", container_id=name)
    api.task("Exec", container_id=name, exec_id="one", spec=process_of("sleep 3; exit 4"))
    api.task("Start", container_id=name, exec_id="one")
    before = gateway.requests()
    assert api.task("Wait", container_id=name, exec_id="one").exit_status == 4
    assert gateway.requests() - before <= AT_MOST
    api.end(name)


def test_who_waits_for_what_is_not_there_is_told(api: Api, root: Path):
    assert api.refused("Wait", container_id="nobody")[0] == "NOT_FOUND"
    name = api.container(root, "sleep", "1000")
    assert api.refused("Wait", container_id=name)[0] == "NOT_FOUND"
    api.task("Create", container_id=name)
    assert api.refused("Wait", container_id=name, exec_id="none")[0] == "NOT_FOUND"
    api.task("Exec", container_id=name, exec_id="never", spec=process_of("true"))
    waiting = api.begin(TASKS, "Wait", container_id=name, exec_id="never")
    api.task("DeleteProcess", container_id=name, exec_id="never")
    assert refusal(waiting.result)[0] == "NOT_FOUND"
    api.end(name)


def test_whoever_dies_who_waits_hears_the_end(gateway: Daemon, api: Api, root: Path):
    name = api.container(root, "sh", "-c", "until [ -e /go ]; do sleep 0.1; done; exit 3")
    api.task("Create", container_id=name)
    api.task("Start", container_id=name)
    waiting = api.begin(TASKS, "Wait", container_id=name)
    for one in (f"container/default/{name}", "router"):
        before = gateway.kill_actor(one)
        wait_until(f"{one} is there again", lambda one=one, before=before: gateway.healed(one, before))
    (root / "go").touch()
    assert waiting.result().exit_status == 3
    api.end(name)


def test_an_exit_while_nobody_listened(gateway: Daemon, api: Api, root: Path, tmp: Path):
    """The actors die, its own among them; who subscribes afterwards is told once, with the code."""
    os.mkfifo(tmp / "out")
    with os.fdopen(os.open(tmp / "out", os.O_RDWR), "rb", buffering=0) as reader:
        script = "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
        name = api.container(root, "sh", "-c", script)
        api.task("Create", container_id=name, stdout=str(tmp / "out"))
        pid = api.task("Start", container_id=name).pid
        assert reader.read(100) == b"ready\n"
        old = {one: gateway.kill_actor(one) for one in ("grpc", f"container/default/{name}")}
        os.kill(pid, 15)
        for one, before in old.items():
            wait_until(f"{one} is there again", lambda one=one, before=before: gateway.healed(one, before))
        assert api.task("Wait", container_id=name).exit_status == 9
        seen = api.events()
        wait_until("it was told", lambda: any(body.container_id == name for _, body in seen))
        own = [(topic, body.exit_status) for topic, body in seen if body.container_id == name]
        assert own == [("/tasks/exit", 9)]
        assert reader.read(100) == b"bye\n"
    assert api.task("Delete", container_id=name).exit_status == 9


def test_an_exec_that_ended_while_nobody_listened(gateway: Daemon, api: Api, root: Path):
    """Who subscribes afterwards is told, until its client has let go of it."""
    name = api.container(root, "sleep", "1000")
    api.task("Create", container_id=name)
    api.task("Start", container_id=name)
    api.task(
        "Exec",
        container_id=name,
        exec_id="one",
        spec=process_of("until [ -e /go ]; do sleep 0.1; done; exit 8"),
    )
    api.task("Start", container_id=name, exec_id="one")
    before = gateway.kill_actor("grpc")
    (root / "go").touch()
    wait_until("grpc is there again", lambda: gateway.healed("grpc", before))
    assert api.task("Wait", container_id=name, exec_id="one").exit_status == 8
    seen = api.events()
    wait_until("it was told", lambda: any(body.container_id == name for _, body in seen))
    own = [(topic, body.id, body.exit_status) for topic, body in seen if body.container_id == name]
    assert own == [("/tasks/exit", "one", 8)]
    api.task("DeleteProcess", container_id=name, exec_id="one")
    again = api.heard("topic~=|^/tasks/|")
    assert not [body for topic, body in again if topic == "/tasks/exit" and body.container_id == name]
    api.end(name)


def test_an_exit_while_the_daemon_is_down(root: Path, tmp: Path):
    (tmp / "d").mkdir()
    with serving(tmp / "d") as (daemon, api):
        _exits_while_down(daemon, api, root)


def _exits_while_down(daemon: Daemon, api: Api, root: Path) -> None:
    name = api.container(
        root, "sh", "-c", "trap 'exit 6' TERM; echo ready >/ready; while :; do sleep 0.1; done"
    )
    api.task("Create", container_id=name)
    pid = api.task("Start", container_id=name).pid
    wait_until("it handles the signal", (root / "ready").exists)
    daemon.stop()
    os.kill(pid, 15)
    wait_until("it has ended", lambda: not Path(f"/proc/{pid}").exists())
    daemon.start()
    assert api.task("Wait", container_id=name).exit_status == 6
    seen = api.events()
    wait_until("it was told", lambda: any(body.container_id == name for _, body in seen))
    assert next(body.exit_status for _, body in seen if body.container_id == name) == 6
    assert api.task("Delete", container_id=name).exit_status == 6


def test_an_id_is_used_again_at_once(api: Api, root: Path):
    """As Docker does it with a restart: whoever is on its way out does not take the next one along."""
    name = api.container(root, "true")
    for _ in range(20):
        api.ask(CONTAINERS, "Delete", id=name)
        assert api.container(root, "true", identity=name) == name
        assert api.refused("Get", container_id=name)[0] == "NOT_FOUND"
    api.task("Create", container_id=name)
    api.task("Start", container_id=name)
    assert api.task("Wait", container_id=name).exit_status == 0
    api.task("Delete", container_id=name)
    api.ask(CONTAINERS, "Delete", id=name)


def test_a_task_is_made_of_the_record_as_it_is_by_then(api: Api, root: Path):
    name = api.container(root, "false")
    given = api.ask(CONTAINERS, "Get", id=name).container
    spec = json.loads(given.spec.value)
    spec["process"]["args"] = ["sh", "-c", "exit 7"]
    given.spec.value = json.dumps(spec).encode()
    api.ask(CONTAINERS, "Update", container=given, update_mask={"paths": ["spec"]})
    api.task("Create", container_id=name)
    api.task("Start", container_id=name)
    assert api.task("Wait", container_id=name).exit_status == 7
    api.end(name)


LOGGER = """#!/bin/sh
cat <&4 >"$2/err" &
echo "$CONTAINER_ID $CONTAINER_NAMESPACE $1" >"$2/about"
echo ready >&5
cat <&3 >"$2/out.new"
wait
mv "$2/out.new" "$2/out"
"""


def test_a_logger_of_the_clients_own(api: Api, root: Path, tmp: Path):
    (tmp / "logger").write_text(LOGGER)
    (tmp / "logger").chmod(0o755)
    address = f"binary://{tmp}/logger?to={tmp}"
    name = api.container(root, "sh", "-c", "echo one; echo two >&2")
    code, text = api.refused("Create", container_id=name, stdout=address, stderr=address, terminal=True)
    assert (code, "terminal" in text) == ("UNIMPLEMENTED", True)
    code, text = api.refused(
        "Create", container_id=name, stdout="binary:///no/such", stderr="binary:///no/such"
    )
    assert "logger '/no/such' cannot be started" in text
    api.task("Create", container_id=name, stdout=address, stderr=address)
    api.task("Start", container_id=name)
    assert api.task("Wait", container_id=name).exit_status == 0
    wait_until("the logger has ended", (tmp / "out").exists)
    assert (tmp / "out").read_text() == "one\n"
    assert (tmp / "err").read_text() == "two\n"
    assert (tmp / "about").read_text() == f"{name} default to\n"
    api.task("Delete", container_id=name)


def test_input_ends_and_everybody_is_signalled(api: Api, root: Path, tmp: Path):
    for one in ("in", "out"):
        os.mkfifo(tmp / one)
    with os.fdopen(os.open(tmp / "out", os.O_RDWR), "rb", buffering=0) as reader:
        child = "(trap 'echo child; exit' USR1; echo there; while :; do sleep 0.1; done)"
        # One after the other, so the first may have ended before the second is signalled.
        own = "trap 'echo own; told=1' USR1; echo armed; until [ $told ]; do wait; sleep 0.1; done; wait"
        script = f"{child} & cat; {own}"
        name = api.container(root, "sh", "-c", script)
        api.task("Create", container_id=name, stdin=str(tmp / "in"), stdout=str(tmp / "out"))
        api.task("Start", container_id=name)
        writer = os.open(tmp / "in", os.O_WRONLY)
        os.write(writer, b"given\n")
        os.close(writer)
        assert _read(reader, b"there", b"given")
        api.task("CloseIO", container_id=name, stdin=True)
        assert _read(reader, b"armed")  # only when cat has ended
        api.task("Kill", container_id=name, signal=10, all=True)
        assert _read(reader, b"child", b"own")
    assert api.task("Wait", container_id=name).exit_status == 0
    api.task("Delete", container_id=name)


@pytest.mark.parametrize("exec_id", ["", "typed"])
def test_input_that_is_closed_before_the_program_is_there_ends(exec_id: str, api: Api, root: Path, tmp: Path):
    """ctr closes as soon as it has written, be the process there or not."""
    for one in ("in", "out"):
        os.mkfifo(tmp / one)
    fifos = {"stdin": str(tmp / "in"), "stdout": str(tmp / "out")}
    with (
        os.fdopen(os.open(tmp / "out", os.O_RDWR), "rb", buffering=0) as reader,
        os.fdopen(os.open(tmp / "in", os.O_RDWR), "wb", buffering=0) as writer,
    ):
        name = api.container(root, *(["sleep", "60"] if exec_id else ["cat"]))
        api.task("Create", container_id=name, **({} if exec_id else fifos))
        if exec_id:
            api.task("Start", container_id=name)
            process = {"args": ["cat"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
            spec = message("google.protobuf.Any")(
                type_url="types.containerd.io/opencontainers/runtime-spec/1/Process",
                value=json.dumps(process).encode(),
            )
            api.task("Exec", container_id=name, exec_id=exec_id, spec=spec, **fifos)
        writer.write(b"early\n")
        api.task("CloseIO", container_id=name, exec_id=exec_id, stdin=True)
        api.task("Start", container_id=name, exec_id=exec_id)
        writer.close()
        assert _read(reader, b"early")
        assert api.task("Wait", container_id=name, exec_id=exec_id).exit_status == 0
    if exec_id:
        api.task("Kill", container_id=name, signal=9)
        api.task("Wait", container_id=name)
    api.task("Delete", container_id=name)


def _read(reader: io.FileIO, *words: bytes) -> bool:
    """Whether all of these words come."""
    said = b""
    while select.select([reader], [], [], 30)[0]:
        said += os.read(reader.fileno(), 4096)
        if all(word in said for word in words):
            return True
    return False


def test_update_and_complete_metrics(api: Api, root: Path):
    name = api.container(root, "sleep", "1000")
    api.task("Create", container_id=name)
    api.task("Start", container_id=name)
    limits = message("google.protobuf.Any")(value=json.dumps({"pids": {"limit": 33}}).encode())
    api.task("Update", container_id=name, resources=limits)

    def figures() -> Any:
        (found,) = api.task("Metrics", filters=[f"id=={name}"]).metrics
        return message(found.data.type_url).FromString(found.data.value)

    wait_until("it is the program, and not the runtime's threads", lambda: figures().pids.current == 1)
    assert figures().pids.limit == 33
    for filters, seen in (
        ([], True),
        (["namespace==default"], True),
        (["namespace==other"], False),
        (["id==nobody", f"id=={name}"], True),
        ([f"id=={name},namespace==other"], False),
        ([f"id=={name[:5]}"], False),
        (["id==.."], False),
    ):
        found = [one.id for one in api.task("Metrics", filters=filters).metrics]
        assert (name in found) is seen, filters
    usage = figures().memory.usage  # with cgroups v2 it is the number itself
    assert getattr(usage, "usage", usage) > 0
    wrong = message("google.protobuf.Any")(value=b"no")
    assert api.refused("Update", container_id=name, resources=wrong)[0] == "INVALID_ARGUMENT"
    api.task("Kill", container_id=name, signal=9)
    api.task("Wait", container_id=name)
    api.task("Delete", container_id=name)


def test_options_of_the_runtime(api: Api, root: Path, tmp: Path):
    """Owner of the output, place of the state; what cannot be had is refused by name."""
    make = message("containerd.runc.v1.Options")

    def packed(**fields: Any) -> Any:
        value = make(**fields).SerializeToString()
        return message("google.protobuf.Any")(type_url="containerd.runc.v1.Options", value=value)

    os.mkfifo(tmp / "out")
    name = api.container(root, "sleep", "1000", options=packed(root=str(tmp / "state")))
    code, text = api.refused("Create", container_id=name, options=packed(shim_cgroup="/x"))
    assert (code, "shim_cgroup" in text) == ("UNIMPLEMENTED", True)
    owned = packed(root=str(tmp / "state"), io_uid=77, io_gid=88)
    api.task("Create", container_id=name, stdout=str(tmp / "out"), options=owned)
    assert (tmp / "state/default" / name / "state.json").exists()
    assert (tmp / "out").stat().st_gid == 88  # runc then gives it to the user of the process
    api.task("Start", container_id=name)
    api.task("Kill", container_id=name, signal=9)
    assert api.task("Wait", container_id=name).exit_status == 137
    api.task("Delete", container_id=name)
    assert not (tmp / "state/default" / name).exists()


@pytest.mark.parametrize("address", ["file:///a%00b", "file://[", "file://host", "file:"])
def test_an_address_that_is_none_of_a_file_is_refused(api: Api, root: Path, address: str):
    name = api.container(root, "true")
    code, text = api.refused("Create", container_id=name, stdout=address)
    assert (code, address in text) == ("UNKNOWN", True), text
    api.ask(CONTAINERS, "Delete", id=name)
