"""An actor that hangs is found, leaves its stacks in the log, and is started again; containers run on."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemon import Daemon, running, wait_until

from transport.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

KINDS = (
    "router",
    "supervisor",
    "metadata",
    "content",
    "snapshots",
    "events",
    "metrics",
    "network",
    "bundles",
)
PRINTS = "i=0; while [ ! -e /stop ]; do echo line $i; i=$((i+1)); usleep 10000; done; exit 17"


@pytest.fixture
def strict(tmp: Path, busybox: str) -> Iterator[Daemon]:
    """A daemon that waits a second only for an answer, and takes failpoints."""
    config = tmp / "strict.toml"
    config.write_text('[metrics]\nlisten = "127.0.0.1:0"\n[supervision]\nhang_after = 1.0\n')
    with running(tmp, "--config", str(config), "--failpoints") as started:
        started.actr("pull", busybox)
        yield started


def _printer(daemon: Daemon, busybox: str) -> str:
    """Start a container that prints until told to stop; returns its actor's name."""
    daemon.actr("run", "-d", "--name", "printer", busybox, "sh", "-c", PRINTS)
    (one,) = daemon.json("ps")
    return str(one["actor"])


def _check_printer(daemon: Daemon, pid: int) -> None:
    """The same process still, and neither a byte of its output nor its exit code is lost."""
    (one,) = daemon.json("ps")
    assert one["task"]["pid"] == pid
    daemon.actr("exec", "printer", "touch", "/stop", check=None)  # its end may overtake the answer
    assert daemon.actr("wait", "printer").stdout.strip() == "17"
    printed = daemon.actr("logs", "printer").stdout
    assert printed == "".join(f"line {n}\n" for n in range(printed.count("\n")))
    daemon.actr("rm", "printer")


def test_each_kind_of_actor_stopped_in_turn_is_replaced(strict: Daemon, busybox: str):
    daemon = strict
    container = _printer(daemon, busybox)
    (one,) = daemon.json("ps")
    for victim in (*KINDS, container):
        pid = daemon.pid(victim)
        os.kill(pid, signal.SIGSTOP)
        wait_until(f"{victim} is ended", partial(_is_gone, pid), 60)
        wait_until(f"{victim} is healed", partial(daemon.healed, victim, pid), 60)
    _check_printer(daemon, one["task"]["pid"])


def _is_gone(pid: int) -> bool:
    """Ended; who has become its parent may not have noticed yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_an_endless_loop_leaves_its_stacks_in_the_log(strict: Daemon, busybox: str):
    daemon = strict
    container = _printer(daemon, busybox)
    (one,) = daemon.json("ps")
    for victim, op, hang in (
        ("metadata", "namespaces.list", "hang"),
        ("content", "content.list", "hang(GIL)"),
        (container, "tasks.state", "hang"),
        ("supervisor", "introspection.version", "hang"),
    ):
        pid, seen = daemon.pid(victim), daemon.log.stat().st_size
        place = f"{victim.partition('/')[0]}.{op}.after"
        daemon.actr("chaos", "set", place, hang, "--actor", victim)
        client = daemon.client()
        with contextlib.closing(client), pytest.raises(RemoteError):
            client.request(op, {}, to=victim, limit=30.0, repeatable=False)
        wait_until(f"{victim} is healed", partial(daemon.healed, victim, pid), 60)
        added = daemon.log.read_text()[seen:]
        assert f"{victim} (pid {pid}) hangs" in added
        assert re.search(
            r'actors/failpoints.py", line \d+ in _act\n.*\n.*actor.py", line \d+ in _perform', added
        )
    _check_printer(daemon, one["task"]["pid"])


def test_a_survivor_of_its_zygote_registers_with_the_next(strict: Daemon, busybox: str):
    daemon = strict
    container = _printer(daemon, busybox)
    (one,) = daemon.json("ps")
    actor = daemon.pid(container)
    assert daemon.process is not None
    daemon.process.kill()
    daemon.process.wait(10)
    wait_until("only the container's actor lives on", lambda: list(daemon.processes()) == [actor])
    daemon.start()
    assert daemon.pid(container) == actor
    wait_until("it has found the new zygote", lambda: _has_channel(daemon))
    os.kill(actor, signal.SIGSTOP)  # only one who is asked for an answer can be missed
    wait_until("it is replaced", partial(daemon.healed, container, actor), 60)
    _check_printer(daemon, one["task"]["pid"])


def _has_channel(daemon: Daemon) -> bool:
    """Whether anybody is connected to the zygote's door: state 3, and not 1 as the door itself (unix(7))."""
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    return any(line[5] == "03" and line[-1] == str(daemon.state / "zygote.sock") for line in lines)


def test_a_flood_of_requests_is_no_hang(strict: Daemon):
    daemon = strict
    before = _static(daemon)
    done = threading.Event()
    answered = [0, 0]
    threads = [threading.Thread(target=_flood, args=(daemon, done, answered, n)) for n in range(2)]
    for thread in threads:
        thread.start()
    done.wait(6.0)  # the length of the flood: several times the limit
    done.set()
    for thread in threads:
        thread.join()
    assert min(answered) > 100
    assert _static(daemon) == before


def _static(daemon: Daemon) -> dict[str, int]:
    """Pids of the actors that are always there."""
    return {name: one["pid"] for name, one in daemon.actors().items() if "/" not in name}


def _flood(daemon: Daemon, done: threading.Event, answered: list[int], place: int) -> None:
    client = daemon.client()
    try:
        while not done.is_set():
            with contextlib.suppress(RemoteError):
                client.request("containers.list", {}, to="metadata", limit=10.0, repeatable=True)
            answered[place] += 1
    finally:
        client.close()
