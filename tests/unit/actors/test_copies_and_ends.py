"""Copies of a container's files while it ends, is started or removed, or while their client goes away."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from journalled import at_once

from actors import messages as m
from actors.container import ContainerActor
from actors.container_requests import Requests
from actors.copying import BROKEN_OFF, KEPT, PART, Copying, _root_of
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
        super().__init__(namespace="n", id="c", bundle=place, state=state, jobs=[])
        self.record: dict[str, Any] = {"name": "web", "options": {}}
        self.stepwise = SimpleNamespace(task={})
        self.timers: list[Any] = []
        self.settings = SimpleNamespace(root=place)
        self.streams = SimpleNamespace(prune=lambda: None)
        self.processes = SimpleNamespace(run_runtime=self.work)

    def work(self, function: Any, then: Any) -> None:
        self.jobs.append((function, then))

    def later(self, _: float, function: Any) -> None:
        self.timers.append(function)

    def time_passes(self) -> None:
        """All timers run out, those that they set excepted."""
        timers, self.timers = self.timers, []
        for one in timers:
            one()

    def comes_back(self, result: Any) -> None:
        """The oldest work has come to this end."""
        self.jobs.pop(0)[1](result)


class _Call(SimpleNamespace):
    def __init__(self, credit: int = 0) -> None:
        super().__init__(open=True, credit=credit, failed=None, answers=[])

    __hash__ = object.__hash__

    def part(self, _: Any, content: bytes) -> None:
        self.credit -= len(content)

    def fail(self, error: Exception) -> None:
        self.open, self.failed = False, error

    def settle(self, result: Any) -> None:
        self.open = False
        self.answers.append(result)

    reply = settle


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

    when_saved = staticmethod(at_once)  # type: ignore[assignment]

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


UPLOAD = "0123456789abcdef"


def _put(copying: Copying, offset: int, data: bytes, *, last: bool = False) -> _Call:
    call = _Call()
    copying.put(m.FilesPut(UPLOAD, "/x", offset, data, last), call)  # type: ignore[arg-type]
    return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("actors.copying.time.monotonic", lambda: now[0])
    return now


def test_the_pieces_of_what_was_broken_off_go(tmp_path: Path, clock: list[float]):
    copying, actor = _copying(tmp_path, RUNNING)
    _put(copying, 0, b"one")
    clock[0] += BROKEN_OFF / 2
    _put(copying, 3, b"two")
    clock[0] += BROKEN_OFF - 1
    actor.time_passes()
    place = tmp_path / "spool/n/c" / UPLOAD
    assert (place.read_bytes(), copying.is_idle()) == (b"onetwo", False), "asleep, it would not look"
    clock[0] += 1
    actor.time_passes()
    assert not place.exists()
    assert copying.is_idle()
    assert actor.timers == []


def test_a_new_incarnation_looks_after_what_the_last_one_was_sent(tmp_path: Path, clock: list[float]):
    spool = tmp_path / "spool/n/c"
    spool.mkdir(parents=True)
    for name in (UPLOAD, "tmp8dz_q2"):
        (spool / name).write_bytes(b"one")
    copying, actor = _copying(tmp_path, RUNNING)
    copying.recover()
    assert [path.name for path in spool.iterdir()] == [UPLOAD]
    assert _put(copying, 3, b"two").answers == [{"offset": 6}]
    clock[0] += BROKEN_OFF
    actor.time_passes()
    assert list(spool.iterdir()) == []


def test_a_last_piece_that_comes_twice_is_unpacked_once(tmp_path: Path, clock: list[float]):
    """Its answer went with a router, or it is on its way still. The file was cut off while it was read."""
    copying, actor = _copying(tmp_path, RUNNING)
    _put(copying, 0, b"one")
    first, second = _put(copying, 3, b"two", last=True), _put(copying, 3, b"two", last=True)
    assert len(actor.jobs) == 1
    actor.comes_back(7)
    third = _put(copying, 3, b"two", last=True)
    assert [call.answers for call in (first, second, third)] == [[{"entries": 7}]] * 3
    assert (actor.jobs, list((tmp_path / "spool/n/c").iterdir())) == ([], [])
    clock[0] += KEPT
    actor.time_passes()
    assert copying.is_idle()


def test_a_piece_behind_the_last_one_is_refused(tmp_path: Path):
    copying, _ = _copying(tmp_path, RUNNING)
    _put(copying, 0, b"one", last=True)
    with pytest.raises(RemoteError, match="the last piece of this upload has come"):
        _put(copying, 0, b"two")
    assert (tmp_path / "spool/n/c" / UPLOAD).read_bytes() == b"one"


def test_what_may_be_tried_again_is_still_there_then(tmp_path: Path):
    copying, actor = _copying(tmp_path, RUNNING)
    _put(copying, 0, b"one")
    call = _put(copying, 3, b"two", last=True)
    actor.comes_back(RemoteError("unavailable", "the container has just ended; try again"))
    assert [error.code for error in call.answers] == ["unavailable"]
    again = _put(copying, 3, b"two", last=True)
    assert (tmp_path / "spool/n/c" / UPLOAD).read_bytes() == b"onetwo"
    actor.comes_back(1)
    assert again.answers == [{"entries": 1}]


def test_what_the_disk_refuses_is_an_answer(tmp_path: Path):
    copying, _ = _copying(tmp_path, RUNNING)
    (tmp_path / "spool").write_text("in the way")
    with pytest.raises(RemoteError, match="upload: Not a directory") as refused:
        _put(copying, 0, b"one")
    assert refused.value.code == "failed_precondition"


def test_a_path_that_can_be_none_is_refused_before_anything_is_done(tmp_path: Path):
    copying, actor = _copying(tmp_path, RUNNING)
    for ask in (
        lambda: copying.get("/a\0b", _Call()),  # type: ignore[arg-type]
        lambda: copying.put(m.FilesPut(UPLOAD, "/a\0b", 0, b"one"), _Call()),  # type: ignore[arg-type]
    ):
        with pytest.raises(RemoteError, match="no path has a NUL byte in it") as refused:
            ask()
        assert refused.value.code == "invalid_argument"
    assert (actor.jobs, list(tmp_path.iterdir())) == ([], [])


def _left_behind(
    place: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> tuple[Copying, _Actor, list[Any]]:
    """What an actor left that was killed while a copy had the root mounted; whatever is done about it."""
    done: list[Any] = []
    monkeypatch.setattr("actors.copying.files.unmount_rootfs", lambda _: done.append("unmounted"))
    copying, actor = _copying(place, state)
    actor.record |= dict.fromkeys(("image", "image_digest", "snapshotter"), "") | {"options": {}}
    actor.log = SimpleNamespace(warning=lambda *_: None)

    def killed(_: Any) -> None:
        raise KeyboardInterrupt

    actor.call = killed
    with pytest.raises(KeyboardInterrupt), copying._root(None):
        pass
    done.clear()
    copying, actor.call = Copying(actor), done.append  # type: ignore[arg-type]
    return copying, actor, done


def test_a_root_that_was_mounted_for_a_copy_is_let_go_of_before_anybody_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    copying, actor, done = _left_behind(tmp_path, OVER, monkeypatch)
    copying.recover()
    copying.when_unmounted(lambda: done.append("started"))
    assert (done, copying.is_idle()) == ([], False)
    unmount, then = actor.jobs.pop()
    then(RemoteError("unavailable", "the network actor is on its way"))
    assert done == [], "it is tried again"
    actor.time_passes()
    (tmp_path / "rootfs").mkdir()
    unmount, then = actor.jobs.pop()
    unmount()
    then(None)
    made, *rest = done
    assert isinstance(made, m.BundlesMake), "one that is still under way is given up for it"
    assert rest == ["unmounted", m.NetworkDetach("n", "c"), "started"]
    copying = Copying(actor)  # type: ignore[arg-type]
    copying.recover()
    assert actor.jobs == []


def test_a_root_that_a_start_has_taken_over_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    copying, actor, _ = _left_behind(tmp_path, RUNNING, monkeypatch)
    copying.recover()
    actor.state = OVER
    copying.recover()
    assert actor.jobs == []


@pytest.mark.parametrize("task", [{}, {"rootfs": []}])
def test_of_one_whose_client_has_named_no_root_there_is_none(tmp_path: Path, task: dict[str, Any]):
    copying, actor = _copying(tmp_path, State())
    actor.record["options"] = {"foreign": {"runtime": "runc"}}
    actor.stepwise.task = task
    if not task:
        with pytest.raises(RemoteError, match="container web has no root yet") as refused:
            copying.get("/a", _Call())  # type: ignore[arg-type]
        assert refused.value.code == "failed_precondition"
    else:
        copying.get("/a", _Call())  # type: ignore[arg-type]
    assert len(actor.jobs) == len(task)
