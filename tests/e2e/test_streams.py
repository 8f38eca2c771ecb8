"""Standard input and many clients at one container: nothing lost, nothing twice, nobody in another's way."""

from __future__ import annotations

import os
import select
import subprocess
from typing import TYPE_CHECKING

import pytest
from daemon import CHECKOUT

if TYPE_CHECKING:
    from daemon import Daemon

pytestmark = pytest.mark.root
RUNTIMES = ("runc", "crun")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_input_is_binary_safe_and_ends(daemon: Daemon, busybox: str, runtime: str):
    content = bytes(range(256)) * 4096
    env = {**os.environ, "ACTORD_ADDRESS": str(daemon.state / "actord.sock")}
    words = [CHECKOUT / "bin/actr", "run", "--rm", "-i", "--runtime", runtime, busybox, "cat"]
    done = subprocess.run(words, env=env, input=content, capture_output=True, timeout=60, check=True)
    assert done.stdout == content


def test_input_is_taken_once_though_its_actor_is_killed(daemon: Daemon, busybox: str):
    """A client that has no answer sends a piece again; the next incarnation knows what it has of it."""
    name = daemon.actr("run", "-d", "-i", busybox, "sh", "-c", "cat; echo end").stdout.strip()
    actor = daemon.json("inspect", name)["actor"]
    client, offset, sent = daemon.client(), 0, b""
    for turn in range(40):
        content = b"%06d\n" % turn * 3000
        if turn % 10 == 5:
            daemon.kill_actor(actor)
        for _ in range(2):  # a repetition changes nothing
            body = {"writer": "w", "offset": offset}
            answer = client.request(
                "tasks.input", body, to=actor, repeatable=True, limit=30, buffers=(content,)
            )
            assert answer["taken"] == offset + len(content)
        offset, sent = offset + len(content), sent + content
    client.request("tasks.close_io", {}, to=actor, repeatable=True, limit=30)
    client.close()
    assert daemon.actr("wait", name).stdout == "0\n"
    assert daemon.actr("logs", name).stdout.encode() == sent + b"end\n"
    daemon.actr("rm", name)


def test_a_process_that_does_not_read_holds_up_only_its_writer(daemon: Daemon, busybox: str):
    name = daemon.actr("run", "-d", "-i", busybox, "sleep", "600").stdout.strip()
    with daemon.popen("attach", "--no-stdin", name) as watcher:
        env = {**os.environ, "ACTORD_ADDRESS": str(daemon.state / "actord.sock")}
        words = [CHECKOUT / "bin/actr", "attach", name]
        with subprocess.Popen(words, env=env, stdin=subprocess.PIPE) as writer:
            assert writer.stdin is not None
            sent, patience = 0, 60.0  # until it has begun to read
            while sent < 1 << 22 and select.select([], [writer.stdin], [], patience)[1]:
                sent += os.write(writer.stdin.fileno(), bytes(4096))
                patience = 2.0 if sent > 1 << 16 else 60.0
            assert 1 << 16 < sent < 1 << 20, "what all pipes and pieces on the way hold, and no more"
            assert daemon.actr("exec", name, "echo", "still here").stdout == "still here\n"
            writer.kill()
        daemon.actr("stop", "--time", "0", name, check=None)
        daemon.actr("rm", "-f", name, check=None)
        watcher.wait(30)


def test_many_clients_see_the_same(daemon: Daemon, busybox: str):
    name = daemon.actr("run", "-d", "-i", busybox, "cat").stdout.strip()
    watchers = [daemon.popen("attach", "--no-stdin", "--replay", "1000", name) for _ in range(5)]
    daemon.actr("attach", name, stdin=b"one\ntwo\n")
    for watcher in watchers:
        out, _ = watcher.communicate(timeout=30)
        assert (out, watcher.returncode) == (b"one\ntwo\n", 0)
    daemon.actr("rm", name)


def test_input_that_nobody_asked_for_is_refused(daemon: Daemon, busybox: str):
    name = daemon.actr("run", "-d", busybox, "sleep", "600").stdout.strip()
    actor = daemon.json("inspect", name)["actor"]
    client = daemon.client()
    with pytest.raises(Exception, match="started without -i"):
        client.request("tasks.input", {"writer": "w"}, to=actor, buffers=(b"x",))
    client.close()
    daemon.actr("rm", "-f", name)
