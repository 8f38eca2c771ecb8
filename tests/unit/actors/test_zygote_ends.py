"""How the zygote ends, and what the next one takes over."""

from __future__ import annotations

import os
import re
import resource
import selectors
import signal
import socket
from pathlib import Path

import pytest
from puppets import LIMIT, starve

from actors.zygote import loop, respawn
from actors.zygote.control import Control
from actors.zygote.door import knock
from actors.zygote.respawn import STOP_LIMIT

pytestmark = pytest.mark.root  # the supervisor's queue is larger than others may have


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_asks_the_supervisor_and_leaves_the_survivors(stage, number):
    before = signal.signal(number, signal.SIG_DFL)  # whoever runs this may ignore it, as with nohup
    try:
        zygote, supervisor = stage.opening()
    finally:
        signal.signal(number, before)
    worker, container = (stage.spawn(supervisor, kind, kind) for kind in ("worker", "container"))
    supervisor.say("up")
    supervisor.say("children")
    supervisor.hears("children")
    assert stage.up.exists()
    zygote.kill(number)
    supervisor.hears("shutdown")
    supervisor.order("exit", code=0)
    assert zygote.wait() == 0
    worker.ended()
    container.hears("alone")


def test_a_hang_up_that_whoever_started_it_ignores_is_ignored(stage):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        zygote, supervisor = stage.opening()
        zygote.kill(signal.SIGHUP)
        stage.spawn(supervisor, "worker", "worker")
        zygote.kill(signal.SIGTERM)
        supervisor.hears("shutdown")
        assert not any(message.get("ev") == "shutdown" for message in supervisor.passed)
        supervisor.order("exit", code=0)
        assert zygote.wait() == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_supervisor_that_dies_during_the_stop_is_told_again(stage):
    zygote, supervisor = stage.opening()
    zygote.kill(signal.SIGTERM)
    supervisor.hears("shutdown")
    os.kill(supervisor.pid, signal.SIGKILL)
    second = stage.meets("supervisor")
    second.hears("shutdown")
    second.order("exit", code=0)
    assert zygote.wait() == 0


def test_a_stop_that_takes_too_long_ends_all_the_same(stage, monkeypatch):
    monkeypatch.setattr(respawn, "STOP_LIMIT", 0.1)
    zygote, supervisor = stage.opening()
    container = stage.spawn(supervisor, "container/a", "container")
    zygote.kill(signal.SIGTERM)
    supervisor.hears("shutdown")
    assert zygote.wait() == 0
    supervisor.ended()
    container.hears("alone")


def test_survivors_are_adopted_by_the_next_zygote(stage):
    zygote, supervisor = stage.opening()
    container = stage.spawn(supervisor, "container/a", "container")
    zygote.end()
    supervisor.ended()
    container.hears("alone")
    _, supervisor = stage.opening()
    supervisor.say("children")
    supervisor.hears("children")
    (adopted,) = (one for one in supervisor.passed if one.get("ev") == "adopt")
    (child,) = adopted["children"]
    assert (child["name"], child["pid"], child["inc"]) == ("container/a", container.pid, 1)
    assert child["args"] == {"for": "container/a"}
    container.order("knock")
    container.order("bear", name="sync")
    stage.meets("sync")
    os.kill(container.pid, signal.SIGKILL)
    assert supervisor.hears("exited")["name"] == "container/a"
    assert stage.spawn(supervisor, "container/a", "container").inc == 2


def test_a_zygote_without_a_descriptor_lets_survivors_in_later_and_does_not_spin(stage, monkeypatch):
    turns, select = stage.settings.state / "turns", selectors.DefaultSelector.select
    monkeypatch.setattr(loop, "ROUND_MAX", 1.0)
    zygote, supervisor = stage.opening()
    container = stage.spawn(supervisor, "container/a", "container")
    zygote.end()
    supervisor.ended()
    container.hears("alone")
    file = os.open(turns, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def noted(self, timeout=None):
        os.write(file, b"x")
        return select(self, timeout)

    monkeypatch.setattr(selectors.DefaultSelector, "select", noted)
    zygote, supervisor = stage.opening()
    monkeypatch.undo()
    worker = stage.spawn(supervisor, "w", "worker")
    most = resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE)
    starve(zygote)
    container.order("knock")
    before = turns.stat().st_size
    for _ in range(20):
        worker.say("ready")
        supervisor.hears("ready")
    assert turns.stat().st_size - before < 60
    resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE, most)
    container.say("ready")
    assert supervisor.hears("ready")["name"] == "container/a"
    os.close(file)


def test_a_process_that_nobody_knows_is_told_so(stage):
    stage.opening()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    knock(stage.settings.zygote_socket, ours.fileno())
    ours.settimeout(LIMIT)
    assert Control(ours).receive() == {"op": "stranger"}
    ours.close()
    theirs.close()


def test_systemd_waits_longer_for_a_stop_than_we_do():
    """At the same time it would kill the zygote while that kills what has not stopped, and call it failed."""
    unit = (Path(__file__).parents[3] / "etc/actord.service").read_text()
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert int(seconds) > STOP_LIMIT + 5
