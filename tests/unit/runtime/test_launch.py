"""When a container counts as running: once its own program does, and not the runtime's."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actors.linux import process
from actors.runtime import bundle as files
from actors.runtime import launch
from actors.runtime.errors import RuntimeCommandError
from actors.runtime.launch import PROGRAM_LIMIT, Launcher, _is_runtime, _wait_for_program

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_the_runtime_is_waited_for_until_it_has_become_the_program():
    words, shell = ["sh", "-c", "read line; exec sleep 60"], shutil.which("sh") or ""
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        exe = Path(f"/proc/{process.pid}/exe")
        try:
            assert _is_runtime(exe, shell)
            assert process.stdin is not None
            threading.Timer(PROGRAM_LIMIT / 20, lambda: process.stdin and process.stdin.close()).start()
            _wait_for_program(process.pid, shell)
            assert not _is_runtime(exe, shell)
        finally:
            process.kill()


def test_a_process_that_has_ended_is_not_waited_for():
    with subprocess.Popen(["true"]) as process:
        process.wait()
    _wait_for_program(process.pid, shutil.which("true") or "")


def test_a_start_that_was_killed_before_it_wrote_anything_down_leaves_nothing(tmp_path: Path):
    """Else the next start would be told that the container exists."""
    left, bundle = tmp_path / "state/c1", tmp_path / "bundles/n/c1"
    left.mkdir(parents=True)
    bundle.mkdir(parents=True)
    with (bundle / "lock").open("w") as lock:
        assert Launcher("true", tmp_path / "state", "c1", bundle, lock.fileno(), tmp_path).inspect() is None
    assert not left.exists()


@pytest.mark.parametrize(
    "content", ["#!/nonexistent\n", "neither program nor script"], ids=["script", "text"]
)
def test_a_runtime_that_cannot_be_executed_keeps_nobody_from_deleting(tmp_path: Path, content: str):
    """Of half an upgrade, say: the end of a run was cleaned up in vain once a second, and rm -f hung."""
    program, bundle = tmp_path / "runc", tmp_path / "bundles/n/c1"
    program.write_text(content)
    program.chmod(0o755)
    bundle.mkdir(parents=True)
    (tmp_path / "state/c1").mkdir(parents=True)
    with (bundle / "lock").open("w") as lock:
        launcher = Launcher(str(program), tmp_path / "state", "c1", bundle, lock.fileno(), tmp_path)
        with pytest.raises(RuntimeCommandError, match=r"runc cannot be executed: .*; install it anew"):
            launcher.checkpoint(tmp_path, leave_running=False)
        launcher.delete()
    assert not (tmp_path / "state/c1").exists()


def test_a_runtime_that_hangs_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(launch, "DELETE_LIMIT", 0.1)
    program, bundle = tmp_path / "runc", tmp_path / "bundles/n/c1"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    bundle.mkdir(parents=True)
    (tmp_path / "state/c1").mkdir(parents=True)
    with (bundle / "lock").open("w") as lock:
        Launcher(str(program), tmp_path / "state", "c1", bundle, lock.fileno(), tmp_path).delete()
    assert not (tmp_path / "state/c1").exists()


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launcher]:
    """One whose runtime starts a process, says so in the file behind --pid-file, and does not end."""
    monkeypatch.setattr(launch, "CALL_LIMIT", 0.5)
    program, bundle = tmp_path / "runc", tmp_path / "bundles/n/c1"
    begin = 'while [ $# -gt 1 ]; do [ "$1" = --pid-file ] && { sleep 600 & echo $! > "$2"; }; shift; done'
    program.write_text(f"#!/bin/sh\n{begin}\nexec sleep 600\n")
    program.chmod(0o755)
    bundle.mkdir(parents=True)
    (bundle / files.CONFIG).write_text('{"linux": {"cgroupsPath": "/c1"}}')
    with (bundle / "lock").open("w") as lock:
        yield Launcher(str(program), tmp_path / "state", "c1", bundle, lock.fileno(), tmp_path)


@pytest.fixture
def reaping() -> Iterator[None]:
    """As a container's actor is, the parent of whose parents have died."""
    process.set_child_subreaper()
    yield
    process.set_child_subreaper(on=False)


def test_an_exec_that_hangs_is_killed_with_what_it_has_begun(
    hanging: Launcher, reaping: None, tmp_path: Path
):
    with pytest.raises(RuntimeCommandError, match=r"exec did not come to its end within 0.5 s, and was kill"):
        hanging.exec(tmp_path, tmp_path / "process.json", {})
    begun = int((tmp_path / files.PID_FILE).read_text())
    assert os.waitpid(begun, 0) == (begun, signal.SIGKILL)


def test_an_update_that_hangs_is_killed(hanging: Launcher):
    with pytest.raises(
        RuntimeCommandError, match=r"update did not come to its end within 0.5 s, and was kill"
    ):
        hanging.update({})
