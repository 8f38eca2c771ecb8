"""The control channel from both ends: questions, heartbeats, and finding the next zygote."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from forked import Forked

from actors.lifeline import ANSWER_LIMIT, Lifeline
from actors.linux.descriptors import enlarge_queue
from actors.linux.pidfd import Process
from actors.settings import Settings
from actors.zygote.birth import Birth
from actors.zygote.children import Child
from actors.zygote.control import Closed, Control, pair
from actors.zygote.door import Door
from actors.zygote.loop import QUEUE, SUPERVISOR, Zygote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SOMEBODY = Process(4711, 99)


class FakePump:
    """Runs what it is told at once, except for timers and descriptors: those when the test says so."""

    def __init__(self) -> None:
        self.watched: dict[int, Callable[[], None]] = {}
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def call(self, function: Callable[[], None]) -> None:
        function()

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        self.timers.append((seconds, function))

    def watch(self, descriptor: int, on_readable: Callable[[], None]) -> None:
        self.watched[descriptor] = on_readable

    def unwatch(self, descriptor: int) -> None:
        del self.watched[descriptor]

    def read(self) -> None:
        (callback,) = self.watched.values()
        callback()

    def next_timer(self) -> float:
        seconds, function = self.timers.pop(0)
        function()
        return seconds


@pytest.fixture
def settings(tmp: Path) -> Settings:
    (tmp / "state").mkdir()
    return Settings(root=tmp / "root", state=tmp / "state")


@pytest.fixture
def ends() -> Iterator[tuple[Control, Control]]:
    ours, theirs = pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def _lifeline(settings: Settings, control: Control, *, survives: bool = True) -> tuple[Lifeline, FakePump]:
    birth = Birth("container/default/x", 1, "container", settings, control, "uuid", {}, survives)
    pump = FakePump()
    line: Any = Lifeline(birth, pump)  # type: ignore[arg-type]  # as much of a pump as it takes
    line.listen()
    return line, pump


def test_a_heartbeat_is_handed_on_and_answered(settings: Settings, ends: tuple[Control, Control]):
    zygote, ours = ends
    line, pump = _lifeline(settings, ours)
    line.on_ping = lambda: line.say(op="pong")
    zygote.send(op="ping")
    pump.read()
    assert zygote.receive() == {"op": "pong"}


def test_an_answer_finds_whoever_asked(settings: Settings, ends: tuple[Control, Control]):
    zygote, ours = ends
    line, pump = _lifeline(settings, ours)
    found: list[tuple[int | None, int]] = []
    line.exit_of(SOMEBODY, lambda *exit_: found.append(exit_))
    assert zygote.receive() == {"op": "exit_of", "pid": 4711, "start": 99}
    zygote.send(op="exit", pid=1, start=2, status=0, at=5)  # somebody else's
    pump.read()
    zygote.send(op="exit", pid=4711, start=99, status=256, at=7)
    pump.read()
    assert found == [(256, 7)]
    assert pump.next_timer() == ANSWER_LIMIT  # comes to nothing: it has been answered
    assert found == [(256, 7)]


def test_a_zygote_that_does_not_answer_does_not_know(settings: Settings, ends: tuple[Control, Control]):
    line, pump = _lifeline(settings, ends[1])
    found: list[tuple[int | None, int]] = []
    line.exit_of(SOMEBODY, lambda *exit_: found.append(exit_))
    pump.next_timer()
    assert found == [(None, 0)]


def test_without_a_zygote_questions_are_answered_and_words_are_lost(
    settings: Settings, ends: tuple[Control, Control]
):
    zygote, ours = ends
    line, pump = _lifeline(settings, ours)
    found: list[tuple[int | None, int]] = []
    line.exit_of(SOMEBODY, lambda *exit_: found.append(exit_))
    zygote.close()
    pump.read()
    assert found == [(None, 0)]
    line.say(op="pong")
    line.exit_of(SOMEBODY, lambda *exit_: found.append(exit_))
    assert found == [(None, 0)] * 2


def test_the_next_zygote_is_found_and_sees_who_comes(settings: Settings, ends: tuple[Control, Control]):
    zygote, ours = ends
    line, pump = _lifeline(settings, ours)
    found: list[bool] = []
    line.on_new_zygote = lambda: found.append(True)
    number = ours.fileno()
    zygote.close()
    pump.read()
    pauses = [pump.next_timer() for _ in range(6)]
    assert pauses == [0.2, 0.4, 0.5, 0.5, 0.5, 0.5]
    assert not found
    assert line.alone
    assert not pump.watched
    door = Door(settings.zygote_socket)
    pump.next_timer()
    knocked = door.accept()
    assert knocked is not None
    pid, control = knocked
    assert (pid, found, list(pump.watched), line.alone) == (os.getpid(), [True], [number], False)
    line.on_ping = lambda: line.say(op="pong")
    control.send(op="ping")
    pump.read()
    assert control.receive() == {"op": "pong"}
    assert door.accept() is None
    control.close()
    door.socket.close()


@pytest.mark.parametrize("asked_before", [True, False])
def test_what_is_fetched_while_there_is_no_zygote_the_next_one_is_asked_for(
    settings: Settings, ends: tuple[Control, Control], *, asked_before: bool
):
    zygote, ours = ends
    line, pump = _lifeline(settings, ours)
    found: list[list[int]] = []
    if asked_before:
        line.fetch("out", found.append)
    zygote.close()
    pump.read()
    if not asked_before:
        line.fetch("out", found.append)
    door = Door(settings.zygote_socket)
    pump.next_timer()
    knocked = door.accept()
    assert knocked is not None
    control = knocked[1]
    assert (control.receive(), found) == ({"op": "fetch", "key": "out"}, [])
    control.send_with([0], op="kept", key="out")
    pump.read()
    ((descriptor,),) = found
    os.close(descriptor)
    control.close()
    door.socket.close()


def test_a_second_zygote_takes_the_door_of_the_first(settings: Settings):
    first = Door(settings.zygote_socket)
    second = Door(settings.zygote_socket)
    assert settings.zygote_socket.stat().st_mode & 0o777 == 0o600
    first.socket.close()
    second.socket.close()


@pytest.mark.parametrize(("survives", "said"), [(False, None), (True, "stranger")])
def test_one_that_nobody_knows_or_that_does_not_survive_ends(
    settings: Settings, ends: tuple[Control, Control], said: str | None, *, survives: bool
):
    zygote, ours = ends
    _, pump = _lifeline(settings, ours, survives=survives)
    if said:
        zygote.send(op=said)
    zygote.close()
    with Forked(pump.read) as child:
        assert child.wait() == 1


def _zygote(settings: Settings) -> Zygote:
    return Zygote(settings, {}, "uuid", lambda: None, lambda: None)


def _with_supervisor(zygote: Zygote, child: Forked) -> Control:
    """The zygote's table with a process that never reads; returns its end of the channel."""
    ours, theirs = pair()
    entry = Child(SUPERVISOR, 1, SUPERVISOR, {}, survives=False, process=Process.of(child.pid))
    zygote._children.add(entry)
    zygote._connect(entry, ours)
    return theirs


def test_a_supervisor_that_does_not_listen_never_blocks_the_zygote_and_is_killed(settings: Settings):
    zygote = _zygote(settings)
    with Forked(lambda: time.sleep(600)) as child:
        theirs = _with_supervisor(zygote, child)
        while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            zygote._tell(ev="spawned", name="x" * 1000, inc=1, pid=1)
        assert child.wait() == -signal.SIGKILL
        theirs.close()
        _close(zygote)


@pytest.mark.root
def test_a_thousand_children_are_told_in_messages_of_bearable_size(settings: Settings):
    zygote = _zygote(settings)
    with Forked(lambda: time.sleep(600)) as child:
        theirs = _with_supervisor(zygote, child)
        supervisor = zygote._children.by_name[SUPERVISOR]
        assert supervisor.control is not None
        enlarge_queue(supervisor.control.socket, QUEUE)
        expected = set()
        for number in range(1000):
            name = f"container/default/{number:064x}"
            args = {"namespace": "default", "id": f"{number:064x}"}
            process = Process(10_000_000 + number, 1)
            zygote._children.add(Child(name, 1, "container", args, survives=False, process=process))
            expected.add(name)
        zygote._tell_children(supervisor)
        told: set[str] = set()
        incarnations: dict[str, int] = {}
        while (message := theirs.receive())["ev"] != "children":
            told.update(one["name"] for one in message.get("children", ()))
            incarnations.update(message.get("incarnations", {}))
        assert told == expected
        assert expected < incarnations.keys()
        theirs.close()
        _close(zygote)


def _close(zygote: Zygote) -> None:
    for child in list(zygote._children.by_pid.values()):
        zygote._hang_up(child)
        zygote._children.remove(child)
    zygote._reserve.close()
    zygote._selector.close()


def test_a_closed_channel_says_so(ends: tuple[Control, Control]):
    zygote, ours = ends
    zygote.close()
    with pytest.raises(Closed):
        ours.receive()
    with pytest.raises(Closed):
        ours.send(op="pong")
