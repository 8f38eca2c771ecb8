"""The moment between the runtime's end and the program's beginning, with real processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from actors.linux.pidfd import Process
from actors.runtime.launch import Launcher, Running

SHELL = shutil.which("dash") or "/bin/sh"


@pytest.fixture
def runtime(tmp_path):
    """A runtime of which the process in the container becomes the program only after a while."""
    program = tmp_path / "runtime"
    shutil.copy(SHELL, program)
    return program


@pytest.fixture
def begins(runtime):
    process = subprocess.Popen([runtime, "-c", "sleep 0.3; exec sleep 100"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def launcher(tmp_path, runtime):
    (tmp_path / "bundle").mkdir()
    return Launcher(
        str(runtime),
        tmp_path / "state",
        "one",
        tmp_path / "bundle",
        os.open("/dev/null", os.O_RDONLY),
        tmp_path,
    )


def test_it_has_begun_once_the_program_runs(launcher, runtime, begins):
    running = launcher.begun(Process.of(begins.pid))
    assert running.process.pid == begins.pid
    assert not Path(f"/proc/{begins.pid}/exe").samefile(runtime)


def test_a_start_that_was_cut_off_is_found_once_the_program_runs(
    launcher, runtime, begins, tmp_path, monkeypatch
):
    target = Process.of(begins.pid)
    record = {"init_process_pid": target.pid, "init_process_start": target.start_time}
    (tmp_path / "state" / "one").mkdir(parents=True)
    (tmp_path / "state" / "one" / "state.json").write_text(json.dumps(record))

    def answer(_verb, _command, _log, ends):
        os.write(ends[1], json.dumps({"id": "one", "pid": target.pid, "status": "running"}).encode())

    monkeypatch.setattr(launcher, "_do", answer)
    found = launcher.inspect()
    assert isinstance(found, Running)
    assert not Path(f"/proc/{begins.pid}/exe").samefile(runtime)


def test_one_that_has_ended_is_not_waited_for(launcher, begins):
    target = Process.of(begins.pid)
    begins.kill()
    assert launcher.begun(target).process == target
