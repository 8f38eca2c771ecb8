"""A stop in order and a start, as an upgrade has it, under everything that clients may have under way."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING

import images
import pytest
from daemon import wait_until

if TYPE_CHECKING:
    import subprocess

    from daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
CONTAINERS = int(os.environ.get("ACTORD_TEST_RESTART_CONTAINERS", "6"))
GAPS = (0.0, 7.0)  # seconds between a stop and a start: as long as a package takes to be unpacked
PRINTS = 'while [ ! -e /stop ]; do echo "$1 $i"; i=$((i+1)); usleep 3000; done; echo end; exit $2'


def talking(name: str, code: int) -> tuple[str, ...]:
    return ("sh", "-c", f"i=0; {PRINTS}", "sh", name, str(code))


def whole(said: bytes, name: str) -> int:
    """How many lines; each must be there, once, in order."""
    *lines, last = said.decode().splitlines()
    assert last == "end"
    assert lines == [f"{name} {number}" for number in range(len(lines))]
    return len(lines)


def test_restarts_in_order_lose_nothing_of_what_is_under_way(own_daemon: Daemon, registry, busybox: str, tmp):
    daemon = own_daemon

    def big(tar):
        images.add_file(tar, "big", os.urandom(96 << 20))

    layout = images.busybox(tmp / "big", "big", extra=big)
    image = f"{registry.host}/library/gentle:latest"
    images.push(layout, "big", image)
    names = [f"c{number}" for number in range(CONTAINERS)]
    with contextlib.ExitStack() as stack:

        def begun(*words: str) -> subprocess.Popen[bytes]:
            return stack.enter_context(daemon.popen(*words))

        events = begun("events", "--format", "json", "--topic", "/tasks/")
        runs = {
            name: begun("run", "--name", name, busybox, *talking(name, 40 + number))
            for number, name in enumerate(names)
        }
        wait_until("all run", lambda: len(daemon.json("ps")) == CONTAINERS)
        execs = [begun("exec", name, *talking("exec", 70 + n)) for n, name in enumerate(names[:4])]
        waits = [begun("wait", name) for name in names]
        pids = {one["name"]: one["task"]["pid"] for one in daemon.json("ps")}
        pull = begun("pull", "-q", image)
        for gap in GAPS:
            assert daemon.stop() == 0
            time.sleep(gap)
            daemon.start()
            assert {one["name"]: one["task"]["pid"] for one in daemon.json("ps")} == pids
        for name in names:
            daemon.actr("exec", name, "touch", "/stop", check=None)  # it may die with its container
        for number, (name, run) in enumerate(runs.items()):
            out, err = run.communicate(timeout=60)
            assert (run.returncode, err) == (40 + number, b"")
            count = whole(out, name)
            assert whole(daemon.actr("logs", name).stdout.encode(), name) == count
            assert waits[number].communicate(timeout=60)[0].split() == [str(40 + number).encode()]
        for number, run in enumerate(execs):
            out, err = run.communicate(timeout=60)
            assert run.returncode in (70 + number, 137), (out[-200:], err)
            whole(out if out.endswith(b"end\n") else out + b"end\n", "exec")  # it may die with its container
        assert pull.communicate(timeout=60)[1] == b""
        assert pull.returncode == 0
        size = daemon.actr("run", "--rm", image, "stat", "-c", "%s", "/big").stdout
        assert size.strip() == str(96 << 20)
        events.terminate()
        told = [json.loads(line) for line in events.communicate(timeout=20)[0].splitlines()]
    numbers = [one["seq"] for one in told]
    assert numbers == sorted(set(numbers))
    exits = [one["body"]["exit_status"] for one in told if one["topic"] == "/tasks/exit"]
    assert set(range(40, 40 + CONTAINERS)) <= set(exits)
    starts = [one["body"]["container_id"] for one in told if one["topic"] == "/tasks/start"]
    assert len(starts) == len(set(starts)) >= CONTAINERS
