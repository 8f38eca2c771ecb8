"""The zygote's loop: children that are forked, told of, killed, and reaped."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from puppets import has, programs, starve

from actors.linux.pidfd import Process
from actors.zygote import loop
from actors.zygote.children import Child
from actors.zygote.control import MAX_DATAGRAM
from actors.zygote.forking import Forking
from actors.zygote.respawn import RESPAWN_LIMIT, Respawn
from actors.zygote.spares import SIZE

pytestmark = pytest.mark.root  # the supervisor's queue is larger than others may have


def children(zygote):
    return Path(f"/proc/{zygote.pid}/task/{zygote.pid}/children").read_text().split()


def test_a_child_is_spawned_ready_and_its_end_reported(stage):
    _, supervisor = stage.opening()
    worker = stage.spawn(supervisor, "w", "worker")
    worker.say("ready")
    ready = supervisor.hears("ready")
    assert (ready["name"], ready["inc"], ready["pid"]) == ("w", 1, worker.pid)
    worker.order("exit", code=3)
    ended = supervisor.hears("exited")
    assert (ended["name"], ended["status"], ended["reason"]) == ("w", 3 << 8, "")
    assert stage.spawn(supervisor, "w", "worker").inc == 2


def test_the_kernel_is_asked_who_has_exited_only_when_somebody_has(stage, monkeypatch):
    """It looks at all children for that: at each container whose actor sleeps."""
    asked, peek = stage.settings.state / "asked", loop.process.peek_children

    def noted():
        with asked.open("a") as file:
            file.write("x")
        return peek()

    monkeypatch.setattr(loop.process, "peek_children", noted)
    _, supervisor = stage.opening()
    worker = stage.spawn(supervisor, "w", "worker")
    before = asked.stat().st_size
    for _ in range(20):
        worker.say("ready")
        supervisor.hears("ready")
    assert asked.stat().st_size == before
    worker.order("exit", code=3)
    supervisor.hears("exited")
    assert asked.stat().st_size > before


def test_last_words_come_with_the_end(stage):
    _, supervisor = stage.opening()
    worker = stage.spawn(supervisor, "w", "worker")
    worker.order("raise", text="lost my way")
    ended = supervisor.hears("exited")
    assert (ended["status"], ended["reason"]) == (1 << 8, "RuntimeError: lost my way")


def test_a_supervisor_that_cannot_be_forked_is_tried_again(stage, monkeypatch):
    """There may be no memory, or no process left, just when it has died of that."""
    fork, refusals = Forking.child, [OSError(errno.EAGAIN, "no process left")] * 2

    def refused(self, kind, *args, **more):
        if kind == "supervisor" and refusals:
            raise refusals.pop()
        return fork(self, kind, *args, **more)

    monkeypatch.setattr(Forking, "child", refused)
    _, supervisor = stage.opening()
    assert supervisor.inc == 3
    stage.spawn(supervisor, "w", "worker")


def test_a_name_that_runs_is_not_spawned_twice(stage):
    zygote, supervisor = stage.opening()
    stage.spawn(supervisor, "w", "worker")
    supervisor.say("spawn", name="w", kind="worker", args={}, survives=False)
    stage.spawn(supervisor, "x", "worker")
    assert len(children(zygote)) == 3


def test_kill_is_for_one_incarnation(stage):
    _, supervisor = stage.opening()
    worker = stage.spawn(supervisor, "w", "worker")
    supervisor.say("kill", name="w", inc=2, signal=signal.SIGKILL)
    supervisor.say("kill", name="nobody", inc=1, signal=signal.SIGKILL)
    supervisor.say("kill", name="w", inc=1, signal=signal.SIGTERM)
    ended = supervisor.hears("exited")
    assert (ended["inc"], ended["status"]) == (1, signal.SIGTERM)
    worker.ended()


def test_what_makes_no_sense_changes_nothing(stage):
    zygote, supervisor = stage.opening()
    worker = stage.spawn(supervisor, "w", "worker")
    for payload in (b"[1]", b"\xff", b'{"op":5}', b"7", b'"x"', b'{"op":"exit_of"}', b"{}"):
        worker.order("raw", payload=list(payload), beside=[0])
    supervisor.say("spawn", name="odd", kind="no such kind", args={}, survives=False)
    worker.say("spawn", name="mine", kind="worker", args={}, survives=False)  # not its to say
    worker.say("ready")
    supervisor.hears("ready")
    assert len(children(zygote)) == 2
    assert stage.spawn(supervisor, "v", "worker").inc == 1


def test_the_last_message_of_the_dead_may_be_nonsense(stage):
    _, supervisor = stage.opening()
    worker = stage.spawn(supervisor, "w", "worker")
    worker.order("raw", payload=list(b"[1]"), beside=[])
    worker.order("raise", text="after it")
    assert supervisor.hears("exited")["reason"] == "RuntimeError: after it"


def test_an_orphan_is_reaped_and_its_status_kept_until_it_is_taken(stage):
    _, supervisor = stage.opening()
    first = stage.spawn(supervisor, "container/a", "container")
    first.order("bear", name="orphan")
    orphan = stage.meets("orphan")
    named = Process.of(orphan.pid)
    os.kill(first.pid, signal.SIGKILL)
    assert supervisor.hears("exited")["status"] == signal.SIGKILL
    second = stage.spawn(supervisor, "container/a", "container")
    wanted = {"pid": named.pid, "start": named.start_time}
    second.say("exit_of", **wanted)
    assert second.hears("exit")["status"] is None
    orphan.order("exit", code=7)
    orphan.ended()
    kept = stage.settings.state / "exits" / f"{named.pid}-{named.start_time}"
    while (answer := ask_exit(second, wanted))["status"] is None:
        pass  # it has closed its end, but may not quite have ended
    assert answer["status"] == 7 << 8
    assert json.loads(kept.read_text()) == [7 << 8, answer["at"]]
    second.say("exit_taken", **wanted)
    assert ask_exit(second, wanted)["status"] is None
    assert not kept.exists()


def ask_exit(puppet, wanted):
    puppet.say("exit_of", **wanted)
    return puppet.hears("exit")


def test_an_orphan_ends_while_the_zygote_has_no_descriptor_left(stage):
    zygote, supervisor = stage.opening()
    first = stage.spawn(supervisor, "container/a", "container")
    first.order("bear", name="orphan")
    orphan = stage.meets("orphan")
    named = Process.of(orphan.pid)
    os.kill(first.pid, signal.SIGKILL)
    supervisor.hears("exited")
    second = stage.spawn(supervisor, "container/a", "container")
    starve(zygote)
    orphan.order("exit", code=7)
    orphan.ended()
    wanted = {"pid": named.pid, "start": named.start_time}
    while (answer := ask_exit(second, wanted))["status"] is None:
        pass
    kept = stage.settings.state / "exits" / f"{named.pid}-{named.start_time}"
    assert json.loads(kept.read_text()) == [7 << 8, answer["at"]]


def test_a_spare_is_taken_and_killed_while_the_zygote_has_no_descriptor_left(stage):
    zygote, supervisor = stage.opening()
    supervisor.say("up")
    stage.settles(lambda: len(children(zygote)) == 1 + SIZE)
    starve(zygote)
    container = stage.spawn(supervisor, "container/a", "container")
    assert (stage.settings.state / "children" / "container%2Fa").exists()
    supervisor.say("kill", name="container/a", inc=1, signal=signal.SIGKILL)
    assert supervisor.hears("exited")["status"] == signal.SIGKILL
    container.ended()


def test_a_kill_is_not_for_one_who_got_the_pid_of_an_adopted_child_this_moment(stage, monkeypatch):
    """We are not its parent, so it goes without us; a look before the kill only makes that moment short."""
    zygote = loop.Zygote(stage.settings, programs(stage.strings), "i", lambda: None, lambda: None)
    gone = os.fork()
    if gone == 0:
        os._exit(0)
    pidfd = os.pidfd_open(gone)
    os.waitpid(gone, 0)
    monkeypatch.setattr(Process, "exists", lambda _: True)  # it was there when it was looked at
    with subprocess.Popen(["sleep", "60"]) as bystander:
        child = Child("container/a", 1, "container", {}, True, Process(bystander.pid, 1), pidfd=pidfd)
        zygote._children.add(child)
        order = {"name": child.name, "inc": 1, "signal": signal.SIGKILL}
        zygote._obey_supervisor(child, "kill", order)
        bystander.terminate()
        assert bystander.wait() == -signal.SIGTERM
    zygote._children.remove(child)
    zygote._selector.close()
    zygote._reserve.close()


def test_descriptors_are_kept_for_one_that_crashes_and_closed_for_one_that_ends(stage, tmp):
    zygote, supervisor = stage.opening()
    pipe = tmp / "fifo"
    os.mkfifo(pipe)
    for ending in ("drop", "exit"):
        one = stage.spawn(supervisor, "container/a", "container")
        one.order("keep", path=str(pipe), key="out")
        one.say("ready")
        supervisor.hears("ready")
        assert has(zygote.pid, pipe)
        os.kill(one.pid, signal.SIGKILL)
        supervisor.hears("exited")
        assert has(zygote.pid, pipe)
        again = stage.spawn(supervisor, "container/a", "container")
        if ending == "drop":
            again.say("drop", key="out")
        again.order("exit", code=0)
        supervisor.hears("exited")
        assert not has(zygote.pid, pipe)


def test_keeping_under_the_same_key_replaces(stage, tmp):
    zygote, supervisor = stage.opening()
    one = stage.spawn(supervisor, "container/a", "container")
    for name in ("f", "g"):
        os.mkfifo(tmp / name)
        one.order("keep", path=str(tmp / name), key="out")
    one.say("ready")
    supervisor.hears("ready")
    assert has(zygote.pid, tmp / "g")
    assert not has(zygote.pid, tmp / "f")


def test_a_number_is_forgotten_on_the_supervisors_word_unless_it_is_in_use(stage):
    _, supervisor = stage.opening()
    ended, lives = (stage.spawn(supervisor, name, "container") for name in ("container/a", "container/b"))
    ended.order("exit", code=0)
    supervisor.hears("exited")
    for name in ("container/a", "container/b"):
        supervisor.say("forget", name=name)
    again = stage.spawn(supervisor, "container/a", "container")
    os.kill(lives.pid, signal.SIGKILL)
    supervisor.hears("exited")
    assert again.inc == 1
    assert stage.spawn(supervisor, "container/b", "container").inc == 2


def test_a_supervisor_that_dies_is_followed_by_one_that_is_told_everything(stage):
    _, first = stage.opening()
    worker = stage.spawn(first, "w", "worker")
    worker.say("ready")
    first.hears("ready")
    os.kill(first.pid, signal.SIGKILL)
    second = stage.meets("supervisor")
    assert second.inc == 2
    second.say("children")
    second.hears("children")
    adopted = [child for one in second.passed if one.get("ev") == "adopt" for child in one["children"]]
    assert [(one["name"], one["pid"], one["ready"]) for one in adopted] == [("w", worker.pid, True)]
    assert {"w": 1, "supervisor": 2}.items() <= second.passed[-1]["incarnations"].items()
    worker.order("exit", code=0)
    assert second.hears("exited")["name"] == "w"


def test_a_full_state_directory_does_not_end_the_zygote(stage):
    """What clients read is written again whenever a supervisor has come up."""
    stage.up = stage.settings.state / "missing" / "up"  # an error of the system, as a full disk's is
    _, supervisor = stage.opening()
    supervisor.say("up")
    stage.spawn(supervisor, "w", "worker")


def test_children_of_many_words_are_told_of_in_messages_that_fit(stage):
    _, first = stage.opening()
    names = [f"job/n/{number}" for number in range(4)]
    for name in names:
        args = {"of": "x" * (MAX_DATAGRAM // 3)}
        first.say("spawn", name=name, kind="worker", args=args, survives=False)
        first.hears("spawned")
        stage.meets(name)
    os.kill(first.pid, signal.SIGKILL)
    second = stage.meets("supervisor")
    second.say("children")
    second.hears("children")
    adopted = [child for one in second.passed if one.get("ev") == "adopt" for child in one["children"]]
    assert [one["name"] for one in adopted] == names


def test_a_supervisor_that_keeps_dying_is_started_at_longer_and_longer_intervals():
    respawn, delays = Respawn(), []
    for _ in range(12):
        assert not respawn.ended(9, 0.0)
        delays.append(respawn.delay)
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == RESPAWN_LIMIT
