"""Copies of a container's files while it ends, is started or removed, or while their client goes away."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from actors.container import ContainerActor
from actors.container_requests import Requests
from actors.copying import PART, Copying, _root_of
from actors.lifecycle import State
from actors.linux.pidfd import Process
from actors.linux.process import descriptor_count
from actors.removal import Removal
from transport.errors import RemoteError

if TYPE_CHECKING:
    from pathlib import Path


class _Actor(SimpleNamespace):
    """As much of a container's actor as copies need; its work waits for the test."""

    def __init__(self, place: Path, state: State) -> None:
        super().__init__(namespace="n", id="c", bundle=place, state=state, jobs=[], record={"name": "web"})
        self.settings = SimpleNamespace(root=place)
        self.streams = SimpleNamespace(prune=lambda: None)

    def work(self, function: Any, then: Any) -> None:
        self.jobs.append((function, then))

    def comes_back(self, result: Any) -> None:
        """The oldest work has come to this end."""
        self.jobs.pop(0)[1](result)


class _Call(SimpleNamespace):
    def __init__(self, credit: int = 0) -> None:
        super().__init__(open=True, credit=credit, failed=None)

    __hash__ = object.__hash__

    def part(self, _: Any, content: bytes) -> None:
        self.credit -= len(content)

    def fail(self, error: Exception) -> None:
        self.open, self.failed = False, error


RUNNING = State("running", run=1, pid=5, start_time=6)
OVER = State("exited", run=1, settled=True)


def _copying(place: Path, state: State) -> tuple[Copying, _Actor]:
    actor = _Actor(place, state)
    actor.copying = Copying(actor)  # type: ignore[arg-type]
    return actor.copying, actor


def test_nothing_stays_open_for_a_client_that_is_gone(tmp_path: Path):
    copying, actor = _copying(tmp_path, RUNNING)
    archive = tmp_path / "archive"
    archive.write_bytes(bytes(3 * PART))
    before = descriptor_count(os.getpid())
    call = _Call()
    copying.get("/big", call)  # type: ignore[arg-type]
    actor.comes_back(archive.open("rb"))
    assert call.open
    assert descriptor_count(os.getpid()) == before + 1
    gone = SimpleNamespace(streams=actor.streams, copying=copying)
    call.envelope = SimpleNamespace(to="c")
    Requests.cancelled(_Gone(gone), call)  # type: ignore[arg-type]
    assert not call.open
    assert descriptor_count(os.getpid()) == before


class _Gone(Requests):
    """Whose calls can be cancelled, and nothing else."""

    def __init__(self, parts: Any) -> None:
        self.streams, self.copying = parts.streams, parts.copying

    def happened(self, fact: Any) -> None:
        raise NotImplementedError


def test_a_start_by_the_policy_and_a_removal_wait_for_whoever_has_the_root_mounted(tmp_path: Path):
    for begin in (ContainerActor._prepare, lambda actor: Removal(actor).begin()):
        copying, actor = _copying(tmp_path, OVER)
        asked: list[str] = []
        actor._make_bundle = lambda asked=asked: asked.append("bundle")
        actor._remove = None
        copying.get("/a", _Call())  # type: ignore[arg-type]
        copying.get("/b", _Call())  # type: ignore[arg-type]
        begin(actor)
        actor.comes_back(OSError("no such file"))
        assert (len(actor.jobs), asked) == (1, []), "the other one still has it"
        actor.comes_back(OSError("no such file"))
        assert len(actor.jobs) + len(asked) == 1


def test_a_copy_that_began_while_it_ran_leaves_the_others_their_root(tmp_path: Path):
    copying, actor = _copying(tmp_path, RUNNING)
    copying.get("/a", _Call())  # type: ignore[arg-type]
    actor.state = OVER
    copying.get("/b", _Call())  # type: ignore[arg-type]
    actor.comes_back(OSError("no such file"))
    assert copying.mounted == 1


@pytest.mark.parametrize("state", [State("exited", run=1), State(error="no", run=1)])
def test_a_root_that_is_about_to_be_unmounted_is_asked_for_again(tmp_path: Path, state: State):
    copying, actor = _copying(tmp_path, state)
    with pytest.raises(
        RemoteError, match="web has just exited and is being cleaned up; try again"
    ) as refused:
        copying.get("/a", _Call())  # type: ignore[arg-type]
    assert refused.value.code == "unavailable"
    assert (copying.mounted, actor.jobs) == (0, [])


def test_one_copy_at_a_time_has_the_root_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    copying, actor = _copying(tmp_path, OVER)
    monkeypatch.setattr("actors.copying.files.unmount_rootfs", lambda _: None)
    actor.record |= dict.fromkeys(("image", "image_digest", "snapshotter"), "") | {"options": {}}
    actor.call = lambda _: (tmp_path / "rootfs").mkdir(exist_ok=True)
    with copying._root(None):
        assert copying._one_root.locked()
    assert not copying._one_root.locked()


def test_a_copy_asks_for_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    copying, actor = _copying(tmp_path, OVER)
    monkeypatch.setattr("actors.copying.files.unmount_rootfs", lambda _: None)
    (tmp_path / "rootfs").mkdir()
    options = {"args": ["true"], "network": {"mode": "container:gone"}}
    actor.record |= dict.fromkeys(("image", "image_digest", "snapshotter"), "") | {"options": options}
    asked: list[Any] = []
    actor.call = asked.append
    with copying._root(None):
        pass
    assert asked[0].options == {"args": ["true"], "network": {}}
    assert actor.record["options"] == options


def test_that_a_container_has_ended_is_not_said_of_a_file():
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    process = Process.of(pid)
    os.close(_root_of(process))
    before = descriptor_count(os.getpid())
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    for _ in ("a zombie", "nothing"):
        with pytest.raises(RemoteError, match="has just ended"):
            _root_of(process)
        if process.exists():
            os.waitpid(pid, 0)
    assert descriptor_count(os.getpid()) == before
