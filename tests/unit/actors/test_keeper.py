"""What is kept for those who sleep outlives the zygote, and nobody who does not need it any more."""

from __future__ import annotations

import os
import select
import selectors
import signal
import socket
from pathlib import Path

import pytest
from puppets import Stage, has
from shortage import one_descriptor_left

from actors.zygote import keeper, loop
from actors.zygote.children import TakeoverError

pytestmark = [pytest.mark.root, pytest.mark.timeout(60)]
NAME = "container/a"


@pytest.fixture
def fifo(tmp):
    os.mkfifo(tmp / "fifo")
    return tmp / "fifo"


def goes_to_sleep(stage, supervisor, fifo, name=NAME):
    """Over a FIFO that it has had kept; nothing is to wake it."""
    one = stage.spawn(supervisor, name, "container")
    one.order("keep", path=str(fifo), key="out")
    one.say("ready")
    supervisor.hears("ready")
    one.say("sleep", keys=[])
    assert one.hears("sleep")["held"]
    one.order("exit", code=0)
    assert supervisor.hears("exited")["asleep"]


def falls_asleep(stage, supervisor, fifo, name=NAME):
    """As above, and the keeper is there."""
    goes_to_sleep(stage, supervisor, fifo, name)
    stage.settles(stage.keeper)


def falls_asleep_over_something(stage, supervisor, fifo):
    """As above; in the FIFO is what vanishes when no process has it open any more. The keeper's pid."""
    falls_asleep(stage, supervisor, fifo)
    descriptor = os.open(fifo, os.O_RDWR)
    os.write(descriptor, b"left")
    os.close(descriptor)
    return stage.keeper()


def take(fifo):
    descriptor = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        return os.read(descriptor, 10)
    except BlockingIOError:
        return b""
    finally:
        os.close(descriptor)


def is_followed(stage, first, fifo):
    """There is another keeper, which has the FIFO."""
    stage.settles(lambda: stage.keeper() not in (0, first) and has(stage.keeper(), fifo))


def test_there_is_none_until_somebody_sleeps(stage, fifo):
    _, supervisor = stage.opening()
    one = stage.spawn(supervisor, NAME, "container")
    one.order("keep", path=str(fifo), key="out")
    one.say("ready")
    supervisor.hears("ready")
    assert not stage.keeper()
    one.say("sleep", keys=[])
    assert one.hears("sleep")["held"]
    stage.settles(stage.keeper)
    stage.settles(lambda: has(stage.keeper(), fifo))


def test_what_waits_for_one_that_sleeps_outlives_the_zygote_and_comes_to_the_next(stage, fifo):
    zygote, supervisor = stage.opening()
    old = falls_asleep_over_something(stage, supervisor, fifo)
    zygote.end()
    second, supervisor = stage.opening()
    again = stage.spawn(supervisor, NAME, "container")
    again.say("fetch", key="out")
    again.hears("kept")
    assert has(second.pid, fifo)
    assert stage.keeper() == old
    assert take(fifo) == b"left"


def test_a_zygote_that_has_no_room_for_what_it_has_leaves_that_to_it(stage, fifo):
    """It is refused to start; killed as one that does not answer, the keeper would have hung up terminals."""
    zygote, supervisor = stage.opening()
    old = falls_asleep_over_something(stage, supervisor, fifo)
    zygote.end()
    with selectors.DefaultSelector() as selector:
        following = keeper.Keeper(stage.settings.keeper_socket, selector, stage.zygote, {})
        with one_descriptor_left(), pytest.raises(TakeoverError, match="the keeper has: too many open files"):
            following.find()
    assert stage.keeper() == old
    second, _ = stage.opening()
    stage.settles(lambda: has(second.pid, fifo))
    assert take(fifo) == b"left"


def test_one_that_is_awake_again_has_it_alone(stage, fifo):
    zygote, supervisor = stage.opening()
    falls_asleep(stage, supervisor, fifo)
    keeper_pid = stage.keeper()
    again = stage.spawn(supervisor, NAME, "container")
    again.order("keep", path=str(fifo), key="out")
    again.say("fetch", key="out")
    again.hears("kept")
    stage.settles(lambda: not has(keeper_pid, fifo))
    again.say("drop", key="out")
    again.say("fetch", key="out")
    again.hears("kept")
    assert not has(zygote.pid, fifo)


def test_what_is_needed_no_more_is_closed_by_a_zygote_that_did_not_have_it_kept(stage, fifo):
    zygote, supervisor = stage.opening()
    falls_asleep(stage, supervisor, fifo)
    zygote.end()
    second, supervisor = stage.opening()
    again = stage.spawn(supervisor, NAME, "container")
    assert has(second.pid, fifo)
    keeper_pid = stage.keeper()
    again.say("drop", key="out")
    again.say("fetch", key="out")
    again.hears("kept")
    assert not has(second.pid, fifo)
    stage.settles(lambda: not has(keeper_pid, fifo))


def test_what_its_actor_does_not_have_is_held_while_that_is_awake(stage, fifo, tmp):
    zygote, supervisor = stage.opening()
    os.mkfifo(tmp / "other")
    one = stage.spawn(supervisor, NAME, "container")
    one.order("keep", path=str(tmp / "other"), key="other")
    one.order("keep", path=str(fifo), key="out", alone=True)
    stage.settles(stage.keeper)
    old = stage.keeper()
    stage.settles(lambda: has(old, fifo))
    zygote.end()
    second, supervisor = stage.opening()
    one.order("knock")
    stage.settles(lambda: has(second.pid, fifo))
    assert not has(old, tmp / "other")
    one.say("drop", key="out")
    stage.settles(lambda: not has(old, fifo))


def test_nothing_is_kept_for_a_name_that_is_forgotten(stage, fifo):
    zygote, supervisor = stage.opening()
    falls_asleep(stage, supervisor, fifo)
    keeper_pid = stage.keeper()
    supervisor.say("forget", name=NAME)
    supervisor.say("children")
    supervisor.hears("children")
    assert not has(zygote.pid, fifo)
    stage.settles(lambda: not has(keeper_pid, fifo))


def test_it_ends_with_its_zygote_when_it_has_nothing(stage, fifo):
    zygote, supervisor = stage.opening()
    falls_asleep(stage, supervisor, fifo)
    keeper_pid = stage.keeper()
    again = stage.spawn(supervisor, NAME, "container")
    again.say("sleep", keys=None)
    stage.settles(lambda: not has(keeper_pid, fifo))
    zygote.end()
    assert os.waitpid(keeper_pid, 0) == (keeper_pid, 0)


def test_another_one_has_everything_soon_after_it_was_killed(stage, fifo, monkeypatch):
    monkeypatch.setattr(loop, "ROUND_MAX", 0.05)
    zygote, supervisor = stage.opening()
    first = falls_asleep_over_something(stage, supervisor, fifo)
    os.kill(first, signal.SIGKILL)
    is_followed(stage, first, fifo)
    assert not Path(f"/proc/{first}").exists()
    zygote.end()
    assert take(fifo) == b"left"


def test_another_one_has_everything_when_the_next_goes_to_sleep(stage, fifo, tmp):
    zygote, supervisor = stage.opening()
    falls_asleep(stage, supervisor, fifo)
    first = stage.keeper()
    os.kill(first, signal.SIGKILL)
    stage.settles(lambda: not Path(f"/proc/{first}").exists())
    assert not stage.keeper()
    os.mkfifo(tmp / "other")
    falls_asleep(stage, supervisor, tmp / "other", "container/b")
    second = stage.keeper()
    stage.settles(lambda: has(second, fifo) and has(second, tmp / "other"))
    zygote.end()


def test_one_that_an_earlier_zygote_had_is_followed_too(stage, fifo, monkeypatch):
    """It is nobody's child by then."""
    monkeypatch.setattr(loop, "ROUND_MAX", 0.05)
    zygote, supervisor = stage.opening()
    first = falls_asleep_over_something(stage, supervisor, fifo)
    zygote.end()
    second, supervisor = stage.opening()
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    is_followed(stage, first, fifo)
    second.end()
    assert take(fifo) == b"left"


def test_it_is_killed_when_it_does_not_answer_the_next_zygote(stage, fifo, monkeypatch):
    zygote, supervisor = stage.opening()
    falls_asleep(stage, supervisor, fifo)
    old = stage.keeper()
    os.kill(old, signal.SIGSTOP)
    zygote.end()
    monkeypatch.setattr(keeper, "PATIENCE", 0.1)
    _, supervisor = stage.opening()
    assert os.waitpid(old, 0) == (old, signal.SIGKILL)
    falls_asleep(stage, supervisor, fifo)
    assert stage.keeper() not in (0, old)


def test_it_is_killed_when_it_does_not_read(stage, fifo, monkeypatch):
    monkeypatch.setattr(keeper, "QUEUE", 4096)
    _, supervisor = stage.opening()
    falls_asleep(stage, supervisor, fifo)
    old = stage.keeper()
    os.kill(old, signal.SIGSTOP)
    one = stage.spawn(supervisor, "container/b", "container")
    one.order("keep", path=str(fifo), key="out")
    for _ in range(200):
        one.say("sleep", keys=[])
        assert one.hears("sleep")["held"]
    stage.settles(lambda: not Path(f"/proc/{old}").exists() and has(stage.keeper(), fifo))


def test_the_next_zygote_finds_one_that_has_not_looked_at_its_door_yet(stage, fifo, monkeypatch):
    heed = keeper.Held.heed

    def waits_for_somebody(held, message, received):
        if message["op"] == "door":
            with socket.socket(fileno=os.dup(received[0])) as door:
                Stage.settles(lambda: door.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
                select.select([door], [], [])
        heed(held, message, received)

    monkeypatch.setattr(keeper.Held, "heed", waits_for_somebody)
    zygote, supervisor = stage.opening()
    goes_to_sleep(stage, supervisor, fifo)
    zygote.end()
    second, _ = stage.opening()
    assert has(second.pid, fifo)


def test_nobody_is_killed_in_place_of_one_that_never_looks_at_its_door(stage, fifo, monkeypatch, tmp):
    """The kernel says that it is its zygote, whose number may be anybody's by then."""

    def never_returns(*_):
        (tmp / "pid").write_text(str(os.getpid()))
        signal.pause()

    monkeypatch.setattr(keeper.Held, "heed", never_returns)
    monkeypatch.setattr(keeper, "PATIENCE", 0.1)
    zygote, supervisor = stage.opening()
    goes_to_sleep(stage, supervisor, fifo)
    stage.settles(lambda: (tmp / "pid").exists() and (tmp / "pid").read_text())
    zygote.end()
    with monkeypatch.context() as patched:
        killed = []
        patched.setattr(os, "kill", lambda pid, _number: killed.append(pid))
        keeper.Keeper(stage.settings.keeper_socket, selectors.DefaultSelector(), lambda: None, {}).find()
    os.kill(int((tmp / "pid").read_text()), signal.SIGKILL)
    assert not killed


def test_one_whose_zygote_died_before_it_could_be_found_ends(stage, fifo, monkeypatch):
    def dies(_path):
        os._exit(9)

    monkeypatch.setattr(keeper, "_listening", dies)
    zygote, supervisor = stage.opening()
    one = stage.spawn(supervisor, NAME, "container")
    one.order("keep", path=str(fifo), key="out")
    one.say("sleep", keys=[])
    assert zygote.wait() == 9
    for known in stage.known:
        known.control.close()
    stage.reap()  # returns when it has no child any more


def test_without_one_nobody_is_told_that_it_may_sleep(stage, fifo, monkeypatch):
    def refused(_path):
        raise OSError("no room")

    monkeypatch.setattr(keeper, "_listening", refused)
    _, supervisor = stage.opening()
    one = stage.spawn(supervisor, NAME, "container")
    one.order("keep", path=str(fifo), key="out")
    one.say("sleep", keys=[])
    assert not one.hears("sleep")["held"]
