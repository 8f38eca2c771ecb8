"""A stop goes on though the actor that began it has died, for as long as whoever asks again says."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from actors.control import DEFAULT_GRACE, Control
from actors.lifecycle import State
from actors.linux.pidfd import Process

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def deaf() -> Iterator[Process]:
    """One that ends by SIGKILL alone, and begins with being deaf."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(writing, b"x")
        signal.pause()
        os._exit(0)
    os.read(reading, 1)
    os.close(reading)
    os.close(writing)
    yield Process.of(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _control(target: Process, **options: Any) -> tuple[Control, list[tuple[float, Any]]]:
    timers: list[tuple[float, Any]] = []
    state = State("running", run=1, pid=target.pid, start_time=target.start_time, halted=True)
    freezing = SimpleNamespace(is_idle=lambda: True, bar=lambda: None)
    actor = SimpleNamespace(state=state, record={"options": options}, freezing=freezing)
    actor.later = lambda seconds, function: timers.append((seconds, function))
    return Control(actor), timers  # type: ignore[arg-type]


def _killed(target: Process) -> bool:
    return os.waitid(os.P_PID, target.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


@pytest.mark.parametrize(
    ("options", "grace"),
    [({}, DEFAULT_GRACE), ({"stop_timeout": None}, DEFAULT_GRACE), ({"stop_timeout": 0}, 0)],
)
def test_it_is_killed_in_time(deaf: Process, options: dict[str, Any], grace: float):
    control, timers = _control(deaf, **options)
    control.stop_again()
    ((seconds, due),) = timers
    assert seconds == grace
    assert not _killed(deaf)
    due()
    os.waitid(os.P_PID, deaf.pid, os.WEXITED | os.WNOWAIT)


def test_whoever_asks_again_says_how_long_it_may_take(deaf: Process):
    control, timers = _control(deaf)
    control.stop_again()
    control.signal_to_stop(300.0)
    (_, ours), (seconds, theirs) = timers
    ours()
    assert not _killed(deaf)
    theirs()
    os.waitid(os.P_PID, deaf.pid, os.WEXITED | os.WNOWAIT)
    assert seconds == 300.0
