"""A short run of clients that vanish; bin/chaos --clients 10000 is the long one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from daemon import wait_until

from actors.linux.process import descriptor_count
from chaos.clients import Clients, Vanishing

if TYPE_CHECKING:
    from daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]


def test_what_vanished_clients_leave_goes_away(daemon: Daemon, busybox: str):
    found = Clients(daemon, busybox, seed=5).perform(120, sweep=True)
    sys.stdout.write("\n".join(found.lines()) + "\n")
    assert found.grown == [], list(found.lines())
    assert sum(found.sessions.values()) == 120
    assert {"execs", "attachments", "resizes"} <= set(found.operations)


@pytest.mark.parametrize("words", ["events", "events --all-nodes", "logs -f quiet", "stats quiet"])
def test_a_command_ends_with_its_reader_though_nothing_more_comes(daemon: Daemon, busybox: str, words: str):
    daemon.actr("run", "-d", "--name", "quiet", busybox, "sh", "-c", "echo once; exec sleep 600")
    follower = daemon.popen(*words.split())
    try:
        assert follower.stdout is not None
        assert follower.stdout.readline()
        follower.stdout.close()
        assert follower.wait(20) == 1
    finally:
        follower.kill()
        follower.communicate()
        daemon.actr("rm", "-f", "quiet")


def test_who_followed_a_silent_container_and_is_gone_holds_nothing_open(daemon: Daemon, busybox: str):
    name = daemon.actr("run", "-d", busybox, "sleep", "600").stdout.strip()
    actor = f"container/default/{name}"
    pid = daemon.pid(actor)
    before = descriptor_count(pid)
    clients = [Vanishing(str(daemon.state / "actord.sock")) for _ in range(20)]
    for client in clients:
        client.say("tasks.output", {"follow": True}, actor)
    wait_until("all of them follow", lambda: descriptor_count(pid) >= before + len(clients))
    for client in clients:
        client.close()
    wait_until("nothing is open for them", lambda: descriptor_count(pid) <= before)
    daemon.actr("rm", "-f", name)
