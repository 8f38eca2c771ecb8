"""Children of the zygote that sleep: what wakes them, and who is told."""

from __future__ import annotations

import os
import signal

import pytest
from puppets import has

pytestmark = pytest.mark.root  # the supervisor's queue is larger than others may have


def sleeper(stage, supervisor, tmp):
    """One that keeps a FIFO and has gone to sleep over it; and the FIFO."""
    fifo = tmp / "fifo"
    if not fifo.exists():
        os.mkfifo(fifo)
    one = stage.spawn(supervisor, "container/a", "container")
    one.order("keep", path=str(fifo), key="out")
    one.say("ready")
    supervisor.hears("ready")
    one.say("sleep", keys=["out"])
    one.order("exit", code=0)
    ended = supervisor.hears("exited")
    assert (ended["asleep"], ended["watched"]) == (True, True)
    return fifo


def write(fifo):
    descriptor = os.open(fifo, os.O_RDWR)
    os.write(descriptor, b"x")
    return descriptor


def test_one_that_sleeps_is_told_of_once_when_there_is_something_to_read(stage, tmp):
    zygote, supervisor = stage.opening()
    fifo = sleeper(stage, supervisor, tmp)
    assert has(zygote.pid, fifo)
    descriptor = write(fifo)
    assert supervisor.hears("stirred")["name"] == "container/a"
    again = stage.spawn(supervisor, "container/a", "container")
    assert again.inc == 2
    assert has(zygote.pid, fifo)  # what it says to be kept takes the place of what was
    assert [one for one in supervisor.passed if one.get("ev") == "stirred"] == []
    os.close(descriptor)


def test_what_comes_while_it_ends_is_seen(stage, tmp):
    _, supervisor = stage.opening()
    os.mkfifo(tmp / "fifo")
    descriptor = write(tmp / "fifo")
    sleeper(stage, supervisor, tmp)
    assert supervisor.hears("stirred")["name"] == "container/a"
    os.close(descriptor)


def test_sleep_counts_only_for_one_that_ends_in_order_and_means_it(stage):
    _, supervisor = stage.opening()
    one = stage.spawn(supervisor, "container/a", "container")
    one.say("sleep", keys=[])
    one.order("exit", code=3)
    assert not supervisor.hears("exited")["asleep"]
    one = stage.spawn(supervisor, "container/a", "container")
    one.say("sleep", keys=[])
    one.say("sleep", keys=None)
    one.order("exit", code=0)
    assert not supervisor.hears("exited")["asleep"]


def test_without_what_is_to_wake_it_nobody_sleeps_for_ever(stage):
    _, supervisor = stage.opening()
    one = stage.spawn(supervisor, "container/a", "container")
    one.say("sleep", keys=["nothing is kept so"])
    one.order("exit", code=0)
    assert supervisor.hears("exited")["asleep"]
    assert supervisor.hears("stirred")["name"] == "container/a"


def test_the_next_supervisor_is_told_who_sleeps_and_not_who_was_stirred(stage, tmp):
    _, first = stage.opening()
    fifo = sleeper(stage, first, tmp)
    os.kill(first.pid, signal.SIGKILL)
    second = stage.meets("supervisor")
    second.say("children")
    second.hears("children")
    (adopted,) = (child for one in second.passed if one.get("ev") == "adopt" for child in one["children"])
    assert (adopted["name"], adopted["pid"], adopted["inc"], adopted["naps"]) == ("container/a", 0, 1, 1)
    descriptor = write(fifo)
    second.hears("stirred")
    os.kill(second.pid, signal.SIGKILL)
    third = stage.meets("supervisor")
    third.say("children")
    third.hears("children")
    assert [one for one in third.passed if one.get("ev") == "adopt"] == []
    third.say("spawn", name="container/a", kind="container", args={}, survives=True)
    spawned = third.hears("spawned")
    assert (spawned["inc"], spawned["first"]) == (2, 1)
    os.close(descriptor)
