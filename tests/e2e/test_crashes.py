"""Any process may be killed at any moment, and no container, output or exit code is lost."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import images
import pytest
from daemon import running, wait_until

from actors.linux.pidfd import tells_exits
from transport.client import Client

if TYPE_CHECKING:
    from daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

LINES = 2000
TALKS = f"i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); usleep 10000; done; exit 42"
VICTIMS = (
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


def _expected(count: int = LINES) -> str:
    return "".join(f"line {n}\n" for n in range(count))


def test_each_actor_killed_in_turn_while_a_container_prints(own_daemon: Daemon, busybox: str):
    daemon = own_daemon
    with daemon.popen("run", "--name", "talker", busybox, "sh", "-c", TALKS) as run:
        wait_until("it runs", lambda: [one["name"] for one in daemon.json("ps")] == ["talker"])
        (container,) = (one["actor"] for one in daemon.json("ps"))
        for victim in (container, *VICTIMS):
            old = daemon.kill_actor(victim)
            wait_until(f"{victim} is healed", partial(daemon.healed, victim, old))
        out, err = run.communicate(timeout=120)
    assert out.decode() == _expected()
    assert run.returncode == 42, err
    assert daemon.actr("logs", "talker").stdout == _expected()
    (listed,) = daemon.json("ps", "-a")
    assert listed["task"]["exit_code"] == 42
    assert all(one["state"] == "running" for one in daemon.actors().values())
    daemon.actr("rm", "talker")


def test_an_exit_while_its_actor_is_down_is_not_lost(own_daemon: Daemon, busybox: str):
    daemon = own_daemon
    script = "while [ ! -e /go ]; do usleep 1000; done; seq 1 5000; exit 23"
    daemon.actr("run", "-d", "--name", "brief", busybox, "sh", "-c", script)
    (container,) = (one["actor"] for one in daemon.json("ps"))
    pid = daemon.pid(container)
    daemon.actr("exec", "brief", "sh", "-c", "(sleep 0.3; touch /go) >/dev/null 2>&1 &")
    # Stopped, it sees neither output nor exit; killed afterwards, its successor must find both.
    os.kill(pid, signal.SIGSTOP)
    (task,) = (one["task"] for one in daemon.json("ps"))
    wait_until("the container has ended", lambda: not _is_alive(task["pid"]))
    os.kill(pid, signal.SIGKILL)
    assert daemon.actr("wait", "brief").stdout.strip() == "23"
    assert daemon.actr("logs", "brief").stdout == "".join(f"{n}\n" for n in range(1, 5001))
    daemon.actr("rm", "brief")


def _is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


KERNELS = {"this kernel": (), "before 6.15": ("setarch", "--uname-2.6")}


@pytest.fixture(params=sorted(KERNELS))
def any_daemon(request: pytest.FixtureRequest, own_daemon: Daemon) -> Daemon:
    """One that runs on this kernel, and one that takes it for an older one than it is."""
    own_daemon.kill_everything()
    own_daemon.enter = KERNELS[request.param]
    own_daemon.start()
    return own_daemon


def test_everything_killed_at_once_and_started_again(any_daemon: Daemon, busybox: str):
    daemon = any_daemon
    script = "i=0; while [ ! -e /stop ]; do echo line $i; i=$((i+1)); usleep 10000; done; exit 5"
    daemon.actr("run", "-d", "--name", "survivor", busybox, "sh", "-c", script)
    wait_until("it prints", lambda: daemon.actr("logs", "survivor").stdout.count("\n") > 20)
    (before,) = daemon.json("ps")
    daemon.kill_everything()
    assert _is_alive(before["task"]["pid"])
    time.sleep(0.5)  # it goes on printing into its FIFO with nobody to read
    daemon.start()
    wait_until("adopted", lambda: [one["task"]["status"] for one in daemon.json("ps")] == ["running"])
    (after,) = daemon.json("ps")
    assert after["task"]["pid"] == before["task"]["pid"]
    seen = daemon.actr("logs", "survivor").stdout.count("\n")
    wait_until("later lines", lambda: daemon.actr("logs", "survivor").stdout.count("\n") > seen + 20)
    daemon.actr("exec", "survivor", "touch", "/stop", check=None)  # it may die with its container
    assert daemon.actr("wait", "survivor").stdout.strip() == "5"
    printed = daemon.actr("logs", "survivor").stdout
    assert printed == _expected(printed.count("\n"))
    daemon.actr("rm", "survivor")


@pytest.mark.parametrize("also_killed", ["container", "zygote"])
def test_all_killed_at_once_and_later_who_would_hear_of_the_exit(
    any_daemon: Daemon, busybox: str, also_killed: str
):
    """The container is a stranger's child, and ends while its actor or the zygote is down, too."""
    daemon = any_daemon
    script = "trap 'exit 7' TERM; echo on; while :; do usleep 9000; done"
    daemon.actr("run", "-d", "--name", "twice", busybox, "sh", "-c", script)
    wait_until("it handles the signal", lambda: daemon.actr("logs", "twice").stdout == "on\n")
    daemon.kill_everything()
    daemon.start()
    wait_until("adopted", lambda: [one["task"]["status"] for one in daemon.json("ps")] == ["running"])
    (one,) = daemon.json("ps")
    actor = daemon.pid(one["actor"])
    if also_killed == "container":
        os.kill(actor, signal.SIGSTOP)
    else:
        assert daemon.process is not None
        daemon.process.kill()
        daemon.process.wait(10)
        wait_until("its actor lives on", lambda: actor in daemon.processes())
    os.kill(one["task"]["pid"], signal.SIGTERM)
    wait_until("it has ended", lambda: not Path(f"/proc/{one['task']['pid']}").exists())
    if also_killed == "container":
        os.kill(actor, signal.SIGKILL)
    else:
        daemon.start()
    assert daemon.actr("wait", "twice").stdout.strip() == "7"
    daemon.actr("rm", "twice")


def test_an_exit_while_nobody_of_actord_lives(any_daemon: Daemon, busybox: str):
    """A stranger has reaped it, and nobody had anything of it open: newer kernels keep how it ended."""
    daemon = any_daemon
    script = "trap 'exit 9' TERM; echo on; while :; do usleep 9000; done"
    daemon.actr("run", "-d", "--name", "lonely", busybox, "sh", "-c", script)
    wait_until("it handles the signal", lambda: daemon.actr("logs", "lonely").stdout == "on\n")
    (one,) = daemon.json("ps")
    daemon.kill_everything()
    os.kill(one["task"]["pid"], signal.SIGTERM)
    wait_until("it has ended", lambda: not Path(f"/proc/{one['task']['pid']}").exists())
    daemon.start()
    known = tells_exits() and not daemon.enter
    assert daemon.actr("wait", "lonely").stdout.strip() == ("9" if known else "unknown")
    daemon.actr("rm", "lonely")


def test_the_zygote_alone_killed_leaves_actors_that_are_adopted(own_daemon: Daemon, busybox: str):
    daemon = own_daemon
    daemon.actr(
        "run",
        "-d",
        "--name",
        "kept",
        busybox,
        "sh",
        "-c",
        "while [ ! -e /stop ]; do usleep 9000; done; exit 6",
    )
    (one,) = daemon.json("ps")
    actor = daemon.pid(one["actor"])
    assert daemon.process is not None
    daemon.process.kill()
    daemon.process.wait(10)
    wait_until("only the container's actor lives on", lambda: list(daemon.processes()) == [actor])
    daemon.start()
    assert daemon.pid(one["actor"]) == actor
    daemon.actr("exec", "kept", "touch", "/stop", check=None)  # it may die with its container
    assert daemon.actr("wait", "kept").stdout.strip() == "6"
    daemon.actr("rm", "kept")


def test_stopping_in_order_leaves_running_containers_running(own_daemon: Daemon, busybox: str):
    daemon = own_daemon
    daemon.actr(
        "run",
        "-d",
        "--name",
        "kept",
        busybox,
        "sh",
        "-c",
        "while [ ! -e /stop ]; do usleep 9000; done; exit 8",
    )
    daemon.actr("create", "--name", "idle", busybox, "true")
    (one,) = daemon.json("ps")
    assert daemon.stop() == 0
    assert _is_alive(one["task"]["pid"])
    assert len(daemon.processes()) == 1  # the running container's actor; the idle one's has ended
    daemon.start()
    assert {one["name"] for one in daemon.json("ps", "-a")} == {"kept", "idle"}
    daemon.actr("exec", "kept", "touch", "/stop", check=None)  # it may die with its container
    assert daemon.actr("wait", "kept").stdout.strip() == "8"
    daemon.actr("start", "idle")
    assert daemon.actr("wait", "idle").stdout.strip() == "0"


def _big(registry, tmp) -> str:
    def big(tar):
        images.add_file(tar, "big", os.urandom(64 << 20))

    layout = images.busybox(tmp / "big", "big", extra=big)
    name = f"{registry.host}/library/big:latest"
    images.push(layout, "big", name)
    return name


def test_a_pull_goes_on_whose_puller_died_while_there_was_no_supervisor(own_daemon: Daemon, registry, tmp):
    """Nobody tells the router of that end when it happens: the next supervisor does."""
    name, daemon = _big(registry, tmp), own_daemon
    supervisor = daemon.pid("supervisor")
    with daemon.popen("pull", name) as pull:
        (puller,) = wait_until("it has a puller", lambda: _pullers(daemon))
        with contextlib.closing(Client(str(daemon.state / "actord.sock"))) as client:
            waits = lambda: client.request("router.traffic", {}, to="router")["waiting"].get("puller")  # noqa: E731
            wait_until("somebody waits for it", waits)
        os.kill(supervisor, signal.SIGSTOP)
        os.kill(puller, signal.SIGKILL)
        wait_until("the zygote has reaped it", lambda: not _is_alive(puller))
        os.kill(supervisor, signal.SIGKILL)
        _, err = pull.communicate(timeout=120)
    assert pull.returncode == 0, err
    daemon.actr("rmi", name)


def _pullers(daemon: Daemon) -> list[int]:
    return [one["pid"] for one in daemon.json("actors") if one["kind"] == "puller" and one["pid"]]


def test_a_pull_goes_on_where_its_puller_was_killed(own_daemon: Daemon, registry, tmp):
    name, daemon = _big(registry, tmp), own_daemon
    killed: set[int] = set()
    with daemon.popen("pull", name) as pull:
        while len(killed) < 3 and pull.poll() is None:
            pids = {one["pid"] for one in daemon.json("actors") if one["kind"] == "puller" and one["pid"]}
            for pid in pids - killed:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        _, err = pull.communicate(timeout=120)
    assert pull.returncode == 0, err
    assert killed
    assert daemon.actr("run", "--rm", name, "stat", "-c", "%s", "/big").stdout.strip() == str(64 << 20)
    daemon.actr("rmi", name)


def test_an_exit_while_its_next_actor_waits_for_the_record_and_the_zygote_dies(
    own_daemon: Daemon, busybox: str
):
    """Whoever comes back takes hold of its container before it asks anybody for anything."""
    daemon = own_daemon
    script = "while [ ! -e /go ]; do usleep 1000; done; seq 1 5000; exit 29"
    daemon.actr("run", "-d", "--name", "brief", busybox, "sh", "-c", script)
    (listed,) = daemon.json("ps")
    process = daemon.pid(listed["actor"])
    os.kill(daemon.pid("metadata"), signal.SIGSTOP)  # the record does not come
    os.kill(process, signal.SIGKILL)
    wait_until("the next actor holds the container", lambda: _holds(daemon, process, listed["task"]["pid"]))
    assert daemon.process is not None
    daemon.process.kill()
    daemon.process.wait()
    Path(f"/proc/{listed['task']['pid']}/root/go").touch()
    wait_until("the container has ended", lambda: not _is_alive(listed["task"]["pid"]))
    daemon.start()
    assert daemon.actr("wait", "brief").stdout.strip() == "29"
    assert daemon.actr("logs", "brief").stdout == "".join(f"{n}\n" for n in range(1, 5001))
    daemon.actr("rm", "brief")


def test_an_exit_under_a_strange_parent_while_its_actor_is_down(own_daemon: Daemon, busybox: str):
    """After a crash of everything, init reaps the container: the zygote keeps what still tells its exit."""
    daemon = own_daemon
    script = "while [ ! -e /go ]; do usleep 1000; done; seq 1 5000; exit 31"
    daemon.actr("run", "-d", "--name", "brief", busybox, "sh", "-c", script)
    daemon.kill_everything()
    daemon.start()
    wait_until("adopted", lambda: [one["task"]["status"] for one in daemon.json("ps")] == ["running"])
    (listed,) = daemon.json("ps")
    actor, pid = daemon.pid(listed["actor"]), listed["task"]["pid"]
    wait_until("the zygote keeps it", lambda: _has_open(daemon.process.pid, pid) if daemon.process else False)
    os.kill(actor, signal.SIGSTOP)
    Path(f"/proc/{pid}/root/go").touch()
    wait_until("it has ended, and been reaped", lambda: not Path(f"/proc/{pid}").exists())
    os.kill(actor, signal.SIGKILL)
    assert daemon.actr("wait", "brief").stdout.strip() == "31"
    assert daemon.actr("logs", "brief").stdout == "".join(f"{n}\n" for n in range(1, 5001))
    daemon.actr("rm", "brief")


def test_an_exec_whose_start_was_cut_off_ends_while_nobody_knows_the_record(tmp: Path, busybox: str):
    """Its next actor takes hold of it and of its output before it asks anybody for anything."""
    with running(tmp, "--failpoints") as daemon:
        daemon.actr("pull", busybox)
        daemon.actr("chaos", "set", "container.exec.after", "kill(count=1)")
        daemon.actr("run", "-d", "--name", "host", busybox, "sleep", "1000")
        (listed,) = daemon.json("ps")
        script = "while [ ! -e /go ]; do usleep 1000; done; seq 1 5000; exit 33"
        process, metadata = daemon.pid(listed["actor"]), daemon.pid("metadata")
        with daemon.popen("exec", "host", "sh", "-c", script) as client:
            os.kill(metadata, signal.SIGSTOP)  # the record does not come
            wait_until("the exec is held", lambda: len(_held(daemon, process)) > 1)
            if not tells_exits():  # then it takes somebody who listens
                watched = daemon.state / "watched"
                wait_until("its end would be heard of", lambda: len(list(watched.iterdir())) > 1)
            assert daemon.process is not None
            daemon.process.kill()
            daemon.process.wait()
            Path(f"/proc/{listed['task']['pid']}/root/go").touch()
            held = _held(daemon, process) - {listed["task"]["pid"]}
            wait_until("the exec has ended", lambda: not any(map(_is_alive, held)))
            daemon.start()
            out, err = client.communicate(timeout=60)
        assert (client.returncode, err) == (33, b"")
        assert out == b"".join(b"%d\n" % n for n in range(1, 5001))


def _held(daemon: Daemon, old: int) -> set[int]:
    """Processes of which an actor other than `old` has a pidfd."""
    found: set[int] = set()
    for actor in daemon.processes():
        if actor != old and (daemon.process is None or actor != daemon.process.pid):
            found |= {pid for pid in _open_pids(actor) if pid > 0}
    return found


def _has_open(process: int, pid: int) -> bool:
    return pid in _open_pids(process)


def _open_pids(process: int) -> set[int]:
    """Processes of which this one has a pidfd (pidfd_open(2), /proc/PID/fdinfo)."""
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for path in Path(f"/proc/{process}/fdinfo").iterdir():
            with contextlib.suppress(OSError):
                found |= {int(n) for n in re.findall(r"^Pid:\t(-?\d+)$", path.read_text(), re.MULTILINE)}
    return found


def _holds(daemon: Daemon, old: int, pid: int) -> bool:
    """Whether an actor other than `old` has a pidfd of `pid` (pidfd_open(2), /proc/PID/fdinfo).

    The zygote keeps one too, from the actor that was killed, and is none of those asked for; nor is who was
    forked this moment, has all that the zygote has, and its name.
    """
    zygote = daemon.process.pid if daemon.process else 0
    unnamed = Path(f"/proc/{zygote}/comm").read_text()
    for actor in daemon.processes().keys() - {zygote}:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{actor}/comm").read_text() == unnamed:
                continue
            entries = [path.read_text() for path in Path(f"/proc/{actor}/fdinfo").iterdir()]
            if actor != old and any(f"Pid:\t{pid}\n" in text for text in entries):
                return True
    return False


def test_a_root_that_goes_with_its_run_is_made_again_after_a_crash(tmp: Path, busybox: str):
    """A mount like that is refused the second time, unless what says so is cleared away before."""
    with running(tmp, "--failpoints") as daemon:
        daemon.actr("pull", busybox)
        daemon.actr("chaos", "set", "bundles.mount.after", "kill(count=1)")
        done = daemon.actr("run", "--rm", busybox, "sh", "-c", "grep -w / /proc/mounts; echo x >/f; cat /f")
        options, written = done.stdout.splitlines()
        assert "volatile" in options
        assert written == "x"
        done = daemon.actr("run", "--name", "stays", busybox, "grep", "-w", "/", "/proc/mounts")
        assert "volatile" not in done.stdout
        daemon.actr("rm", "stays")
