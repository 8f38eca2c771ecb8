"""Containers to which nothing happens need no process of the daemon's; all that happens to them is seen."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from daemon import Daemon, running, wait_until

from actors.linux.pidfd import tells_exits
from transport.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]
KINDS = pytest.mark.parametrize("words", [(), ("-i", "-t")], ids=["plain", "terminal"])
WAITS = "echo first; until [ -e /go ]; do usleep 20000; done; echo last; exit 9"


@pytest.fixture(scope="module")
def shared(short_root: Path, busybox: str) -> Iterator[Daemon]:
    """Its actors sleep as soon as they can."""
    directory = Path(tempfile.mkdtemp(prefix="d-", dir=short_root))
    with running(directory, "--failpoints", sleep_after=0.2) as started:
        started.actr("pull", busybox)
        yield started


@pytest.fixture
def sleepy(shared: Daemon) -> Iterator[Daemon]:
    """Without a container before and after."""
    yield shared
    for one in shared.json("ps", "-a"):
        shared.actr("rm", "-f", one["id"])


@pytest.fixture
def restarted(tmp: Path, busybox: str) -> Iterator[Daemon]:
    """A daemon of the test's own, which it may end and start again."""
    with running(tmp, sleep_after=0.2) as started:
        started.actr("pull", busybox)
        yield started


def quiet(daemon: Daemon, busybox: str, name: str, *words: str) -> dict[str, Any]:
    """A container that has been running for a while, whose actor sleeps: its record."""
    daemon.actr("run", "-d", "--name", name, *words, busybox, "sh", "-c", WAITS)
    record: dict[str, Any] = daemon.json("inspect", name)
    falls_asleep(daemon, record["actor"])
    return record


def falls_asleep(daemon: Daemon, actor: str) -> dict[str, Any]:
    found: dict[str, Any] = wait_until(
        f"{actor} sleeps", lambda: (one := daemon.actors().get(actor, {})).get("state") == "asleep" and one
    )
    assert found["pid"] == 0
    return found


def let_go(record: dict[str, Any]) -> None:
    """Have the container write and end, without a word to the daemon."""
    os.close(os.open(f"/proc/{record['task']['pid']}/root/go", os.O_CREAT | os.O_WRONLY))


def ends_unseen(record: dict[str, Any]) -> None:
    """As `let_go`; returns when its process has ended, be there a daemon or not."""
    let_go(record)
    wait_until("it has ended", lambda: not Path(f"/proc/{record['task']['pid']}").exists())


def ends_well(daemon: Daemon, name: str) -> None:
    """As the container said, with all that it had written."""
    wait_until("its end is on record", lambda: daemon.json("inspect", name)["task"]["status"] == "stopped")
    assert daemon.actr("wait", name).stdout.strip() == "9"
    assert daemon.actr("logs", name).stdout.split() == ["first", "last"]


def test_what_a_container_writes_and_how_it_ends_is_known(sleepy: Daemon, busybox: str):
    record = quiet(sleepy, busybox, "quiet")
    assert [one["id"] for one in sleepy.json("ps")] == [record["id"]]
    assert [one["name"] for one in sleepy.json("stats", "--no-stream")] == ["quiet"]
    assert sleepy.actors()[record["actor"]]["state"] == "asleep"  # whoever looks at all wakes nobody
    let_go(record)
    ends_well(sleepy, "quiet")
    assert falls_asleep(sleepy, record["actor"])["restarts"] == 0  # over one that has ended, too
    sleepy.actr("rm", "quiet")
    wait_until("it is gone", lambda: record["actor"] not in sleepy.actors())


def test_one_with_a_terminal_sleeps_too(sleepy: Daemon, busybox: str):
    record = quiet(sleepy, busybox, "shown", "-i", "-t")
    let_go(record)
    ends_well(sleepy, "shown")


def test_a_request_wakes_it_and_is_answered(sleepy: Daemon, busybox: str):
    record = quiet(sleepy, busybox, "asked")
    assert sleepy.actr("exec", "asked", "echo", "here").stdout == "here\n"
    falls_asleep(sleepy, record["actor"])
    sleepy.actr("kill", "--signal", "USR1", "asked")  # an operation that may be done once only
    ended = sleepy.actr("stop", "--time", "0.2", "asked")
    assert ended.returncode == 0
    falls_asleep(sleepy, record["actor"])
    sleepy.actr("start", "asked")
    assert sleepy.json("inspect", "asked")["task"]["status"] == "running"


@pytest.mark.parametrize("words", [("logs", "-f", "used"), ("wait", "used"), ("exec", "used", "sleep", "60")])
def test_who_uses_it_keeps_it_awake(sleepy: Daemon, busybox: str, words: tuple[str, ...]):
    actor = quiet(sleepy, busybox, "used")["actor"]
    client = sleepy.popen(*words)
    try:
        pid = wait_until("it is awake", lambda: sleepy.pid(actor))
        time.sleep(1.0)  # five times as long as it would take to sleep
        assert sleepy.pid(actor) == pid
    finally:
        client.kill()
        client.communicate()


def test_a_wait_that_is_over_its_deadline_does_not_keep_it_awake(sleepy: Daemon, busybox: str):
    record = quiet(sleepy, busybox, "waited")
    with sleepy.client_in_use() as client:
        with pytest.raises(RemoteError, match="no answer"):
            client.request("tasks.wait", {}, to=record["actor"], limit=0.2)
        falls_asleep(sleepy, record["actor"])


def test_a_wait_that_lost_its_router_does_not_keep_it_awake(sleepy: Daemon, busybox: str):
    record = quiet(sleepy, busybox, "orphaned")
    client = sleepy.popen("wait", "orphaned")
    try:
        wait_until("it is awake", lambda: sleepy.pid(record["actor"]))
        old = sleepy.kill_actor("router")
        wait_until("all is well", lambda: sleepy.healed("router", old))
    finally:
        client.kill()
        client.communicate()
    falls_asleep(sleepy, record["actor"])


@pytest.mark.parametrize("victim", ["supervisor", "router"])
def test_a_sleeper_is_found_again_whoever_dies(sleepy: Daemon, busybox: str, victim: str):
    record = quiet(sleepy, busybox, "kept")
    old = sleepy.kill_actor(victim)
    wait_until("all is well", lambda: sleepy.healed(victim, old))
    assert sleepy.actors()[record["actor"]]["state"] == "asleep"
    let_go(record)
    ends_well(sleepy, "kept")


@KINDS
def test_the_end_while_there_is_no_supervisor_is_found_by_the_next(
    sleepy: Daemon, busybox: str, words: tuple[str, ...]
):
    record = quiet(sleepy, busybox, "unseen", *words)
    old = sleepy.pid("supervisor")
    os.kill(old, signal.SIGSTOP)
    ends_unseen(record)
    os.kill(old, signal.SIGKILL)
    wait_until("the supervisor is back", lambda: sleepy.healed("supervisor", old))
    ends_well(sleepy, "unseen")


def test_the_daemon_is_killed_and_started_again_over_one_that_sleeps(restarted: Daemon, busybox: str):
    record = quiet(restarted, busybox, "orphan")
    killed(restarted)
    restarted.start()
    falls_asleep(restarted, record["actor"])
    let_go(record)
    ends_well(restarted, "orphan")


def killed(daemon: Daemon) -> None:
    """The zygote, and with it all but the actors of containers: of those that sleep there are none."""
    assert daemon.process is not None
    daemon.process.kill()
    daemon.process.wait()
    daemon.process = None


def keeper(daemon: Daemon) -> int:
    """The pid of what has the descriptors of those who sleep; 0 for none."""
    names = {pid: Path(f"/proc/{pid}/comm").read_text().strip() for pid in daemon.processes()}
    return next((pid for pid, name in names.items() if name == "keeper"), 0)


@KINDS
def test_what_it_writes_and_how_it_ends_while_there_is_no_daemon_is_known(
    restarted: Daemon, busybox: str, words: tuple[str, ...]
):
    record = quiet(restarted, busybox, "orphan", *words)
    killed(restarted)
    assert Path(f"/proc/{record['task']['pid']}").exists()
    ends_unseen(record)
    restarted.start()
    ends_well(restarted, "orphan")


def test_whoever_has_its_descriptors_may_be_killed_too(restarted: Daemon, busybox: str):
    record = quiet(restarted, busybox, "orphan", "-i", "-t")
    old = keeper(restarted)
    os.kill(old, signal.SIGKILL)
    wait_until("there is another one", lambda: keeper(restarted) not in (0, old))
    killed(restarted)
    restarted.start()
    falls_asleep(restarted, record["actor"])
    let_go(record)
    ends_well(restarted, "orphan")


@pytest.mark.parametrize("place", ["forked", "before", "after"])
def test_the_zygote_dies_while_it_gives_its_descriptors_away(tmp: Path, busybox: str, place: str):
    with running(tmp, "--failpoints", sleep_after=0.5) as daemon:
        daemon.actr("pull", busybox)
        daemon.actr("chaos", "set", f"zygote.keeper.{place}", "kill(count=1)")
        daemon.actr("run", "-d", "-i", "-t", "--name", "given", busybox, "sh", "-c", WAITS, check=None)
        assert daemon.process is not None
        assert daemon.process.wait(20) == -signal.SIGKILL
        daemon.start()
        record = daemon.json("inspect", "given")
        if tells_exits():  # else one that outlived its zygote stays awake
            falls_asleep(daemon, record["actor"])
        let_go(record)
        ends_well(daemon, "given")


@KINDS
def test_an_orderly_stop_wakes_it_first_so_that_nothing_is_missed_meanwhile(
    restarted: Daemon, busybox: str, words: tuple[str, ...]
):
    record = quiet(restarted, busybox, "watched", *words)
    assert restarted.stop() == 0
    wait_until("its actor alone is left", lambda: len({*restarted.processes()} - {keeper(restarted)}) == 1)
    ends_unseen(record)
    restarted.start()
    ends_well(restarted, "watched")
    quiet(restarted, busybox, "again")  # nobody is barred from sleep by a stop that is over


PLACES = [
    "container.sleep.before", "container.sleep.said", "container.sleep.left",
    "supervisor.asleep.before", "supervisor.asleep.after", "supervisor.wake.before",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_whoever_is_killed_on_the_way_to_sleep_or_from_it(sleepy: Daemon, busybox: str, place: str):
    sleepy.actr("chaos", "set", place, "kill(count=1)")
    record = quiet(sleepy, busybox, "struck")
    assert sleepy.actr("exec", "struck", "true").returncode == 0
    falls_asleep(sleepy, record["actor"])
    let_go(record)
    ends_well(sleepy, "struck")
    sleepy.actr("chaos", "set", place, "off")
