"""What an exec that could not be started is said to have failed of."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import pytest

from actors.execs import CANNOT_EXEC, Exec, Execs
from actors.linux.pidfd import Process
from actors.runtime.errors import RuntimeCommandError

SAID = "nsexec-1[7]: failed to open /proc/6/ns/ipc: No such file or directory"


@pytest.fixture
def first_process():
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    yield Process.of(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def refusal(process):
    """The error of an exec that the runtime has refused in the container of that first process."""
    actor = SimpleNamespace(
        state=process,
        record={"name": "web"},
        streams=SimpleNamespace(discard=lambda _: None, serve=lambda _: None),
        save=lambda: None,
        later=lambda *_: None,
    )
    execs = Execs(actor)
    execs.from_journal({"x": {}})
    execs._launched("x", RuntimeCommandError(SAID))
    (one,) = (Exec(**fields) for fields in execs.to_journal().values())
    assert (one.phase, one.error_code) == ("exited", CANNOT_EXEC)
    return one.error


def test_the_runtime_knows_best_why_while_the_container_runs(first_process):
    assert refusal(first_process) == SAID


def test_a_container_that_ends_meanwhile_is_said_to_have_ended(first_process):
    os.kill(first_process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, first_process.pid, os.WEXITED | os.WNOWAIT)  # a zombie, and still our child
    assert refusal(first_process) == "container web is not running any more; see actr ps -a"
