"""What is kept of a container's output: spans of time, limits, nothing; and readers that stall."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from daemon import Daemon

pytestmark = pytest.mark.root
BYTES = int(os.environ.get("ACTORD_STALLED_BYTES", str(64 << 20)))
SECONDS = float(os.environ.get("ACTORD_STALLED_SECONDS", "1"))
ROOM = 16 << 20  # bytes that an actor may grow by, whatever its container writes


def blocks(path) -> int:
    return sum(file.stat().st_blocks for file in path.iterdir()) * 512


def log_of(daemon: Daemon, name: str):
    return daemon.root / "logs/default" / daemon.json("inspect", name)["id"]


def test_since_until_tail_stamps_and_follow_together(daemon: Daemon, busybox: str):
    script = "echo one; echo two; while [ ! -e /go ]; do sleep 0.05; done; echo three; echo four; sleep 600"
    name = daemon.actr("run", "-d", busybox, "sh", "-c", script).stdout.strip()
    while "two" not in daemon.actr("logs", name).stdout:
        time.sleep(0.05)
    between = time.time()
    middle = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(between)) + f"{between % 1:.6f}"[1:]
    daemon.actr("exec", name, "touch", "/go")
    while "four" not in daemon.actr("logs", name).stdout:
        time.sleep(0.05)
    assert daemon.actr("logs", "--since", middle, name).stdout == "three\nfour\n"
    assert daemon.actr("logs", "--until", middle, name).stdout == "one\ntwo\n"
    assert daemon.actr("logs", "--until", middle, "-f", "--tail", "1", name).stdout == "two\n"
    stamped = daemon.actr("logs", "-t", "--since", middle, "--tail", "1", name).stdout
    assert stamped.startswith("20")
    assert stamped.endswith(" four\n")
    items = [json.loads(line) for line in daemon.actr("logs", "--format", "json", name).stdout.splitlines()]
    assert [item["text"] for item in items] == ["one\n", "two\n", "three\n", "four\n"]
    refused = daemon.actr("logs", "--since", "soon", name, check=None)
    assert "'soon' is no time" in refused.stderr
    daemon.actr("rm", "-f", name)


@pytest.mark.parametrize(("killed", "runtime"), [(False, "crun"), (True, "runc")])
def test_a_log_is_cut_to_its_limits_and_says_so(daemon: Daemon, busybox: str, killed: bool, runtime: str):
    limits = ("--log-opt", "max-size=256k", "--log-opt", "max-file=2", "--runtime", runtime)
    name = daemon.actr("run", "-d", *limits, busybox, "seq", "200000").stdout.strip()
    actor = daemon.json("inspect", name)["actor"]
    with daemon.popen("logs", "-f", name) as follower:
        if killed:
            daemon.kill_actor(actor)
        out, complaint = follower.communicate(timeout=120)
    assert daemon.actr("wait", name).stdout == "0\n"
    whole = b"".join(b"%d\n" % number for number in range(1, 200001))
    missing = sum(int(line.split()[1]) for line in complaint.splitlines() if b"no longer in the log" in line)
    assert len(out) + missing == len(whole)
    done = daemon.actr("logs", name)
    assert whole.endswith(done.stdout.encode())
    assert (256 << 10) - (64 << 10) <= len(done.stdout) <= 512 << 10
    assert f"{len(whole) - len(done.stdout)} bytes of stdout are no longer in the log" in done.stderr
    assert json.loads(daemon.actr("logs", "--format", "json", name).stdout.splitlines()[0]) == {
        "stream": "stdout",
        "cut": len(whole) - len(done.stdout),
    }
    assert blocks(log_of(daemon, name)) <= (512 << 10) + (64 << 10)
    daemon.actr("rm", name)


def test_the_driver_none_serves_followers_and_keeps_nothing(daemon: Daemon, busybox: str):
    assert daemon.actr("run", "--rm", "--log-driver", "none", busybox, "echo", "seen").stdout == "seen\n"
    name = daemon.actr("run", "-d", "--log-driver", "none", busybox, "echo", "unseen").stdout.strip()
    daemon.actr("wait", name)
    refused = daemon.actr("logs", name, check=None)
    assert "has the log driver none" in refused.stderr
    daemon.actr("rm", name)


def test_what_cannot_be_kept_so_is_refused_by_name(daemon: Daemon, busybox: str):
    for words, complaint in (
        (("--log-driver", "splunk"), "--log-driver splunk is not supported"),
        (("--log-driver", "none", "--log-opt", "max-size=1m"), "log driver none keeps nothing"),
        (("--log-opt", "max-file=3"), "give max-size too"),
        (("--log-opt", "max-size=1k"), "it must be from 65536"),
        (("--log-opt", "color=red"), "--log-opt is max-size=SIZE or max-file=NUMBER, not 'color=red'"),
    ):
        refused = daemon.actr("run", "-d", *words, busybox, "true", check=None)
        assert refused.returncode != 0
        assert complaint in refused.stderr


def test_a_stalled_reader_does_not_hold_up_its_container(daemon: Daemon, busybox: str):
    """All of it, and for the figures of 1 GB and 60 s: ACTORD_STALLED_BYTES, ACTORD_STALLED_SECONDS, -s."""
    without, _ = written(daemon, busybox, stalled=False)
    seconds, grown = written(daemon, busybox, stalled=True)
    figures = f"{without:.1f} s with a reader that reads, {seconds:.1f} s with one that stalls"
    sys.stdout.write(f"{BYTES} bytes: {figures}; the actor grew by {grown >> 10} KiB\n")
    assert grown < ROOM


def written(daemon: Daemon, busybox: str, *, stalled: bool) -> tuple[float, int]:
    """Seconds that a container took to write all its bytes, and the growth of its actor in bytes."""
    script = f"cat > /dev/null; head -c {BYTES} /dev/zero; sleep 600"
    name = daemon.actr("run", "-d", "-i", busybox, "sh", "-c", script).stdout.strip()
    actor = daemon.json("inspect", name)["actor"]
    with daemon.popen("logs", "-f", name) as reader, ThreadPoolExecutor() as threads:
        assert reader.stdout is not None
        counted = None if stalled else threads.submit(count, reader.stdout)
        before, begun = resident(daemon, actor), time.monotonic()
        close_input(daemon, actor)
        while (log_of(daemon, name) / "stdout").stat().st_size < BYTES:
            time.sleep(0.05)
        seconds = time.monotonic() - begun
        time.sleep(max(0.0, SECONDS - seconds) if stalled else 0)
        grown = resident(daemon, actor) - before
        counted = counted or threads.submit(count, reader.stdout)
        daemon.actr("kill", "-s", "KILL", name)
        assert counted.result(300) == BYTES
        reader.wait(60)
        daemon.actr("rm", "-f", name)
    return seconds, grown


def count(stream: IO[bytes]) -> int:
    return sum(len(piece) for piece in iter(lambda: stream.read(1 << 20), b""))


def resident(daemon: Daemon, actor: str) -> int:
    status = Path(f"/proc/{daemon.pid(actor)}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) << 10


def close_input(daemon: Daemon, actor: str) -> None:
    with daemon.client_in_use() as client:
        client.request("tasks.close_io", {}, to=actor, repeatable=True, limit=30)
