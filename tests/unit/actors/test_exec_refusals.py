"""What an exec that could not be started is said to have failed of."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import pytest
from journalled import at_once

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


def execs_of(process, bundle, **plain):
    """Those of the container of that first process, as journalled."""
    actor = SimpleNamespace(
        state=process,
        record={"name": "web"},
        bundle=bundle,
        streams=SimpleNamespace(discard=lambda _: None, serve=lambda _: None),
        save=at_once,
        when_saved=at_once,
        later=lambda *_: None,
        reports=SimpleNamespace(announce=lambda *_, **__: None),
        stepwise=SimpleNamespace(task={}, end_input=lambda _: None),
    )
    execs = Execs(actor)
    actor.health = SimpleNamespace(ended=lambda name, _: execs.delete(name))
    execs.from_journal(plain)
    return actor, execs


def refusal(process, bundle):
    """The error of an exec that the runtime has refused in the container of that first process."""
    _, execs = execs_of(process, bundle, x={})
    execs._launched("x", execs._find("x"), RuntimeCommandError(SAID))
    (one,) = (Exec(**fields) for fields in execs.to_journal().values())
    assert (one.phase, one.error_code) == ("exited", CANNOT_EXEC)
    return one.error


def test_the_runtime_knows_best_why_while_the_container_runs(first_process, tmp_path):
    assert refusal(first_process, tmp_path) == SAID


def test_a_container_that_ends_meanwhile_is_said_to_have_ended(first_process, tmp_path):
    os.kill(first_process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, first_process.pid, os.WEXITED | os.WNOWAIT)  # a zombie, and still our child
    assert refusal(first_process, tmp_path) == "container web is not running any more; see actr ps -a"


def test_a_check_that_could_not_be_started_is_forgotten_at_once(first_process, tmp_path):
    _, execs = execs_of(first_process, tmp_path, **{"health-1-1": {}})
    execs._launched("health-1-1", execs._find("health-1-1"), RuntimeCommandError(SAID))
    assert execs.to_journal() == {}


def test_one_that_was_forgotten_while_it_began_answers_whoever_waits(first_process, tmp_path):
    _, execs = execs_of(first_process, tmp_path, x={"given": {"io": ["", "", ""]}})
    heard, one = [], execs._find("x")
    execs._wants_start["x"] = [SimpleNamespace(settle=heard.append)]
    execs.clear()  # as with the run of its container
    execs._launched("x", one, RuntimeCommandError(SAID))
    assert [str(error) for error in heard] == [SAID]
    assert execs.to_journal() == {}


def test_of_one_that_was_forgotten_its_client_still_gets_the_rest(first_process, tmp_path):
    """A client waits for the end of its FIFOs."""
    actor, execs = execs_of(first_process, tmp_path, x={"phase": "running", "given": {"io": ["", "a", "b"]}})
    drained, one = [], execs._find("x")
    lines = SimpleNamespace(drain=lambda name, io, then, **_: (drained.append((name, io)), then()))
    actor.stepwise.lines = lines
    execs.clear()
    execs._exited("x", one, 137, 1)
    assert drained == [("x", ["", "a", "b"])]
    assert execs.to_journal() == {}
