"""Command lines, and the meaning of what real runtimes have answered (texts recorded from runc and crun)."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import oci_runtime
from actors.runtime.errors import RuntimeCommandError
from actors.runtime.oci_runtime import OciRuntime, State

RUNC = OciRuntime("runc", Path("/run/r"))
LOG = Path("/b/log")
START = ["runc", "--root", "/run/r", "--log", "/b/log", "--log-format", "json"]
START_FAILED = "runc run failed: unable to start container process: "


def test_command_lines():
    bundle, pid_file = Path("/b"), Path("/b/pid")
    creation = ["--bundle", "/b", "--pid-file", "/b/pid"]
    commands = {
        tuple(RUNC.run("c1", bundle, pid_file, LOG)): ["run", "--detach", *creation, "c1"],
        tuple(RUNC.create("c1", bundle, pid_file, LOG)): ["create", *creation, "c1"],
        tuple(
            RUNC.create("c1", bundle, pid_file, LOG, console_socket=Path("/s"), preserve_fds=2, no_pivot=True)
        ): ["create", *creation, "--console-socket", "/s", "--preserve-fds", "2", "--no-pivot", "c1"],
        tuple(RUNC.start("c1", LOG)): ["start", "c1"],
        tuple(RUNC.exec("c1", Path("/p"), pid_file, LOG)): [
            *("exec", "--detach", "--process", "/p", "--pid-file", "/b/pid", "c1")
        ],
        tuple(RUNC.exec("c1", Path("/p"), pid_file, LOG, console_socket=Path("/s"), preserve_fds=1)): [
            *("exec", "--detach", "--process", "/p", "--pid-file", "/b/pid"),
            *("--tty", "--console-socket", "/s", "--preserve-fds", "1", "c1"),
        ],
        tuple(RUNC.kill("c1", 15, LOG)): ["kill", "c1", "15"],
        tuple(RUNC.kill("c1", 9, LOG, everyone=True)): ["kill", "--all", "c1", "9"],
        tuple(RUNC.delete("c1", LOG)): ["delete", "c1"],
        tuple(RUNC.delete("c1", LOG, force=True)): ["delete", "--force", "c1"],
        tuple(RUNC.state("c1", LOG)): ["state", "c1"],
        tuple(RUNC.pause("c1", LOG)): ["pause", "c1"],
        tuple(RUNC.resume("c1", LOG)): ["resume", "c1"],
    }
    for command, expected in commands.items():
        assert list(command) == [*START, *expected]


@pytest.mark.parametrize("container_id", ["", "--force", "../x", "a/b", "a b", "a\n", "ä", "x" * 2000])
def test_an_id_that_a_runtime_could_misread_is_refused(container_id):
    for build in (
        lambda: RUNC.start(container_id, LOG),
        lambda: oci_runtime.recorded_init(RUNC.root, container_id),
    ):
        with pytest.raises(RuntimeCommandError) as caught:
            build()
        assert caught.value.code == "invalid_argument"


@pytest.mark.parametrize(
    ("text", "exit_code"),
    [
        (START_FAILED + 'exec: "/bin/no": stat /bin/no: no such file or directory', 127),
        (START_FAILED + 'exec: "no": executable file not found in $PATH', 127),
        (START_FAILED + 'exec: "/bin/x": permission denied', 126),
        (START_FAILED + 'exec: "container not running": executable file not found in $PATH', 127),
        (START_FAILED + 'exec: "/etc": is a directory', 126),
        (START_FAILED + 'exec: "/bin/x/y": stat /bin/x/y: not a directory', 127),
        (START_FAILED + "error during container init: mkdir /bin/x: not a directory", 127),
        (START_FAILED + "unable to init seccomp: error adding seccomp rule", None),
        ("executable file `no` not found in $PATH: No such file or directory", 127),
        ("open executable: Permission denied", 126),
        ("open executable: Operation not permitted", 126),
        ("open executable: Not a directory", 127),
        ("chdir `/bin/x`: Not a directory", 127),
        ("OCI runtime out of memory", None),
    ],
)
def test_why_a_program_did_not_start(text, exit_code):
    for verb in ("run", "create", "start", "exec"):
        found = oci_runtime.failure(verb, [text])
        assert found.exit_code == exit_code
        assert found.code == ("internal" if exit_code is None else "invalid_argument")
        assert str(found) == text
    assert oci_runtime.failure("delete", [text]).exit_code is None


@pytest.mark.parametrize(
    ("verb", "text", "code"),
    [
        ("state", "container does not exist", "not_found"),
        ("exec", "container does not exist", "not_found"),
        ("start", "error opening file `/run/crun/zz/status`: No such file or directory", "not_found"),
        ("delete", "cannot open directory '/run/crun/zz': No such file or directory", "not_found"),
        ("kill", "container not running", "not_found"),
        ("kill", "kill container: No such process", "not_found"),
        ("kill", "open pidfd: No such process", "not_found"),
        ("create", "container with given ID already exists", "already_exists"),
        ("create", "container `c1` already exists", "already_exists"),
        ("delete", "cannot delete container c1 that is not stopped: running", "failed_precondition"),
        ("delete", "cannot delete container that is not stopped: running", "failed_precondition"),
        ("start", "cannot start an already running container", "failed_precondition"),
        ("start", "cannot open `/run/crun/c1/exec.fifo`: No such file or directory", "failed_precondition"),
        ("start", "container `c1` is not running", "failed_precondition"),
        ("delete", "the container `c1` is not in `created` or `stopped` state", "failed_precondition"),
        ("exec", "exec failed: cannot exec in a stopped container", "failed_precondition"),
        ("exec", "the container `c1` is not running", "failed_precondition"),
        ("resume", "container not paused", "failed_precondition"),
        ("create", "runc create failed: container with given ID already exists", "already_exists"),
        ("exec", "cannot exec in a stopped container", "failed_precondition"),
        ("pause", "something else", "internal"),
    ],
)
def test_the_kind_of_an_error(verb, text, code):
    found = oci_runtime.failure(verb, [text])
    assert (found.code, found.exit_code) == (code, None)


def test_a_failure_without_a_log_says_what_was_printed():
    assert str(oci_runtime.failure("run", [], b"panic:\n boom\n")) == "panic: boom"
    assert str(oci_runtime.failure("run", [])) == "the runtime's run failed and gave no reason"
    assert str(oci_runtime.failure("run", ["a", "a", "b"])) == "a; b"


def test_a_log_is_read_up_to_a_bound_and_junk_is_passed_over(tmp_path):
    log = tmp_path / "log"
    assert oci_runtime.read_log(log) == []
    lines = [
        b'{"level":"debug","msg":"no"}',
        b"not json",
        b'{"level":"error","msg":"one","time":"t"}',
        b"[" * 100_000,
        b'["level"]',
        b'{"level":"warning","msg":"no"}',
        b'{"msg":"two","level":"error"}',
        json.dumps({"level": "error", "msg": "x" * 9000}).encode(),
    ]
    log.write_bytes(b"\n".join(lines))
    assert oci_runtime.read_log(log) == ["one", "two", "x" * 4096]
    log.write_bytes(b"x" * (3 << 20) + b'\n{"level":"error","msg":"last"}\n')
    assert oci_runtime.read_log(log) == ["last"]


def test_states():
    parse = oci_runtime.parse_state
    assert parse(b'{"status":"running","pid":12,"bundle":"/b"}') == State("running", 12, "/b")
    assert parse(b'{"status":"stopped","pid":0}') == State("stopped", None, "")
    for junk in (b"", b"[]", b"{}", b'{"status":1}', b"\xff"):
        with pytest.raises(RuntimeCommandError, match="not readable"):
            parse(junk)


def test_the_recorded_init_of_both_runtimes(tmp_path):
    runtime = OciRuntime("runc", tmp_path)
    assert oci_runtime.recorded_init(runtime.root, "c1") is None
    for name, content in (
        ("state.json", {"init_process_pid": 5, "init_process_start": 77}),
        ("status", {"pid": 5, "process-start-time": 77}),
    ):
        directory = tmp_path / name.replace(".", "-")
        directory.mkdir()
        (directory / name).write_text(json.dumps(content))
        assert oci_runtime.recorded_init(runtime.root, directory.name) == (5, 77)
        (directory / name).write_text("{")
        assert oci_runtime.recorded_init(runtime.root, directory.name) is None


@given(st.lists(st.text()), st.binary())
def test_any_answer_gives_one_line(messages, stderr):
    text = str(oci_runtime.failure("run", messages, stderr))
    assert text
    assert "\n" not in text
    assert len(text) <= 4096
