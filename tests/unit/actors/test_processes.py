"""Whoever comes to watch a process that has ended already hears of its end, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from actors.linux import pinning
from actors.linux.pidfd import Process
from actors.linux.process import descriptor_count
from actors.processes import Processes, shelf
from actors.runtime import bundle as files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _Actor(SimpleNamespace):
    """As much of a container's actor as its processes need; what is to be done soon waits for the test."""

    def __init__(self, bundle: Path) -> None:
        self.said: list[dict[str, Any]] = []
        self.watched: list[int] = []
        pump = SimpleNamespace(
            call=lambda function: function(), watch=lambda descriptor, _: self.watched.append(descriptor)
        )
        host = SimpleNamespace(pump=pump, say=lambda _=(), **words: self.said.append(words))
        super().__init__(bundle=bundle, host=host, due=[], is_watched=lambda _: False)

    def soon(self, function: Any) -> None:
        self.due.append(function)


@pytest.fixture
def actor(tmp_path: Path) -> Iterator[Any]:
    made = _Actor(tmp_path)
    yield made
    for descriptor in made.watched:
        os.close(descriptor)
    for pin in tmp_path.glob(f"{files.PINS}/*"):
        pinning.unpin(pin)


def _child(*words: str) -> tuple[subprocess.Popen[bytes], Process]:
    child = subprocess.Popen(words)
    return child, Process.of(child.pid)


def test_the_end_of_one_that_has_ended_is_heard_of_next(actor: Any):
    child, target = _child("sh", "-c", "exit 7")
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    before, heard = descriptor_count(os.getpid()), []

    assert Processes(actor).when_exited(target, lambda *found: heard.append(found))

    assert (heard, actor.watched, actor.said) == ([], [], []), "nobody is to keep it: it stays a zombie"
    actor.due.pop()()
    assert [code for code, _ in heard] == [7]
    assert actor.said == [], "the zygote has nothing of our own child"
    assert descriptor_count(os.getpid()) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, os.WNOHANG)
    child.returncode = 7


def test_one_that_runs_is_kept_and_watched(actor: Any):
    child, target = _child("sleep", "60")
    try:
        assert not Processes(actor).when_exited(target, lambda *_: None)
        assert [(one["op"], one["key"]) for one in actor.said] == [("keep", shelf(target))]
        assert len(actor.watched) == 1
        assert not actor.due
    finally:
        child.kill()
        child.wait()
