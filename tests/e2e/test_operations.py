"""What people do to a container while it lives, with both runtimes: seen from inside or in the kernel."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from daemon import wait_until

from actors.linux import cgroups

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon import Daemon

pytestmark = pytest.mark.root

TICK = "while true; do echo x >> /tick; sleep 0.02; done"


@pytest.fixture(params=["runc", "crun"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def name(daemon: Daemon) -> Iterator[str]:
    """Of a container that is removed in the end."""
    chosen = f"t{uuid.uuid4().hex[:8]}"
    yield chosen
    daemon.actr("rm", "-f", chosen, check=None)


def task(daemon: Daemon, name: str) -> dict[str, Any]:
    return dict(daemon.json("inspect", name)["task"])


def topics(daemon: Daemon, name: str) -> list[str]:
    lines = daemon.actr("events", "--no-follow", "--container", name).stdout.splitlines()
    return [line.split()[3] for line in lines]


def ticks(daemon: Daemon, name: str) -> int:
    pid = task(daemon, name)["pid"]
    found = Path(f"/proc/{pid}/root/tick")
    return found.stat().st_size if found.exists() else 0


def cgroup_file(daemon: Daemon, name: str, controller: str, file: str) -> str:
    identity = daemon.json("inspect", name)["id"]
    layout = cgroups.detect()
    return (layout.controllers[controller] / "actord/default" / identity / file).read_text().strip()


def test_pause_top_stats_update_and_rename(daemon: Daemon, busybox: str, runtime: str, name: str):
    daemon.actr("run", "-d", "--runtime", runtime, "--name", name, "-m", "64m", busybox, "sh", "-c", TICK)
    wait_until("it ticks", lambda: ticks(daemon, name) > 2)
    daemon.actr("pause", name)
    assert task(daemon, name)["status"] == "paused"
    assert cgroup_file(daemon, name, "freezer", "freezer.state") == "FROZEN"
    before = ticks(daemon, name)
    daemon.kill_actor(daemon.json("inspect", name)["actor"])  # a pause outlives the actor
    wait_until("its actor is back", lambda: daemon.actr("top", name, check=None).returncode == 0)
    assert ticks(daemon, name) == before
    daemon.actr("unpause", name)
    wait_until("it ticks again", lambda: ticks(daemon, name) > before)

    listed = daemon.json("top", name)
    first = next(one for one in listed if one["pid_inside"] == 1)
    assert first["pid"] == task(daemon, name)["pid"]
    assert first["command"].startswith("sh -c")
    (used,) = daemon.json("stats", "--no-stream", name)
    assert used["memory_limit_bytes"] == 64 << 20
    assert used["cpu_percent"] is not None
    assert used["memory_bytes"] > 0
    assert used["pids"] >= 1

    daemon.actr("update", "-m", "96m", "--cpus", "0.5", "--pids-limit", "77", name)
    assert cgroup_file(daemon, name, "memory", "memory.limit_in_bytes") == str(96 << 20)
    assert cgroup_file(daemon, name, "cpu", "cpu.cfs_quota_us") == "50000"
    assert cgroup_file(daemon, name, "pids", "pids.max") == "77"
    assert daemon.json("inspect", name)["options"]["memory"] == 96 << 20

    daemon.actr("rename", name, f"{name}-new")
    assert daemon.actr("exec", f"{name}-new", "echo", "here").stdout == "here\n"
    assert "not found" in daemon.actr("inspect", "--type", "container", name, check=1).stderr
    daemon.actr("rename", f"{name}-new", name)

    daemon.actr("pause", name)  # a paused one can be stopped
    daemon.actr("stop", "-t", "0.1", name)
    assert {"/tasks/paused", "/tasks/resumed", "/tasks/exit"} <= set(topics(daemon, name))

    daemon.actr("start", name)
    daemon.actr("pause", name)
    daemon.actr("kill", name)
    assert daemon.actr("wait", name).stdout == "137\n"


def test_restart_and_several_execs(daemon: Daemon, busybox: str, runtime: str, name: str):
    script = "echo run; trap 'exit 0' TERM; while true; do sleep 0.05; done"
    daemon.actr("run", "-d", "--runtime", runtime, "--name", name, busybox, "sh", "-c", script)
    started = [daemon.popen("exec", name, "sh", "-c", f"sleep 0.2; exit {code}") for code in (3, 4, 5, 0)]
    assert [one.wait(30) for one in started] == [3, 4, 5, 0]
    for one in started:
        one.communicate()
    before = task(daemon, name)["pid"]
    daemon.actr("restart", name)
    after = task(daemon, name)
    assert after["status"] == "running"
    assert after["pid"] != before
    wait_until("it has written twice", lambda: daemon.actr("logs", name).stdout == "run\nrun\n")


def test_a_restart_policy_and_a_person_who_stops(daemon: Daemon, busybox: str, runtime: str, name: str):
    failing = ("sh", "-c", "echo x; exit 3")
    daemon.actr(
        "run", "-d", "--runtime", runtime, "--restart", "on-failure:2", "--name", name, busybox, *failing
    )
    wait_until(
        "all is over", lambda: task(daemon, name)["restarts"] == 2 and task(daemon, name)["exit_code"] == 3
    )
    wait_until("three runs", lambda: daemon.actr("logs", name).stdout == "x\n" * 3)
    assert topics(daemon, name).count("/tasks/restart") == 2

    daemon.actr("update", "--restart", "always", name)
    daemon.actr("start", name)
    wait_until("it goes on", lambda: daemon.actr("logs", name).stdout.count("x") >= 6, 30)
    daemon.actr("stop", "-t", "0.1", name)
    seen = daemon.actr("logs", name).stdout
    record = daemon.json("inspect", name)
    assert record["wanted"] == "stopped"
    daemon.kill_actor(record["actor"])
    wait_until("its actor is back", lambda: daemon.actr("logs", name, check=None).returncode == 0)
    assert daemon.actr("wait", name).stdout == "3\n"
    assert daemon.actr("logs", name).stdout == seen, "nothing starts what a person has stopped"


def test_a_policy_outlives_the_daemon_and_a_reboot(own_daemon: Daemon, busybox: str):
    own_daemon.actr(
        "run", "-d", "--restart", "always", "--name", "a", busybox, "sh", "-c", "echo x; sleep 0.3"
    )
    own_daemon.actr("run", "-d", "--restart", "always", "--name", "b", busybox, "sleep", "60")
    own_daemon.actr("stop", "-t", "0.1", "b")
    own_daemon.stop()
    own_daemon.start()
    before = own_daemon.actr("logs", "a").stdout.count("x")
    wait_until("a goes on", lambda: own_daemon.actr("logs", "a").stdout.count("x") > before + 1)
    assert task(own_daemon, "b")["status"] == "stopped"


def test_health_is_looked_after(daemon: Daemon, busybox: str, runtime: str, name: str):
    health = ("--health-cmd", "test -e /well", "--health-interval", "0.1s", "--health-retries", "2")
    daemon.actr("run", "-d", "--runtime", runtime, "--name", name, *health, busybox, "sleep", "60")
    wait_until("it is unhealthy", lambda: task(daemon, name)["health"] == "unhealthy", 30)
    assert "(unhealthy)" in daemon.actr("ps").stdout
    daemon.actr("exec", name, "touch", "/well")
    wait_until("it is healthy", lambda: task(daemon, name)["health"] == "healthy", 30)
    assert topics(daemon, name).count("/tasks/health") >= 2
    assert topics(daemon, name).count("/tasks/exec-started") == 1, "checks are no events"

    daemon.actr("update", "--restart", "on-failure", name)
    daemon.actr("exec", name, "rm", "/well")
    wait_until("its policy starts it again", lambda: task(daemon, name)["restarts"] >= 1, 40)
    assert "/tasks/restart" in topics(daemon, name)
    actor = daemon.json("inspect", name)["actor"]
    assert daemon.actors()[actor]["restarts"] == 0, "a check that comes too late does not end it"


def test_out_of_memory_is_told_before_the_exit(daemon: Daemon, busybox: str, runtime: str, name: str):
    eat = "x=aaaaaaaaaaaaaaaa; while true; do x=$x$x; done"
    limits = ("-m", "8m", "--memory-swap", "8m")
    daemon.actr("run", "--runtime", runtime, "--name", name, *limits, busybox, "sh", "-c", eat, check=137)
    found = task(daemon, name)
    assert found["oom"] is True
    assert found["exit_reason"] == "out of memory"
    seen = topics(daemon, name)
    assert seen.index("/tasks/oom") < seen.index("/tasks/exit")
    assert "out of memory" in daemon.actr("ps", "-a").stdout


def test_nothing_outlives_a_forced_removal(daemon: Daemon, busybox: str, runtime: str, name: str):
    mark = uuid.uuid4().hex
    child = f"(setsid sh -c 'while :; do sleep 0.01; : {mark}; done' &)"
    bomb = f"for i in 1 2 3 4 5 6 7 8; do {child}; done; wait; sleep 60"
    daemon.actr("run", "-d", "--runtime", runtime, "--name", name, "--pid", "host", busybox, "sh", "-c", bomb)
    wait_until("it has forked", lambda: len(marked(mark)) >= 8)
    assert (
        Path("/proc/self/ns/pid").readlink() == Path(f"/proc/{task(daemon, name)['pid']}/ns/pid").readlink()
    )
    daemon.actr("rm", "-f", name)
    wait_until("all are gone", lambda: not marked(mark))


def marked(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes()
                if mark.encode() in line and b"actr" not in line:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_a_checkpoint_is_refused_where_it_cannot_be(
    daemon: Daemon, busybox: str, runtime: str, name: str, tmp: Path
):
    daemon.actr("run", "-d", "--runtime", runtime, "--name", name, busybox, "sleep", "60")
    done = daemon.actr("checkpoint", name, str(tmp / "c"), check=None)
    if runtime == "crun":
        assert "runtime crun cannot checkpoint; create the container with --runtime runc" in done.stderr
        assert done.returncode == 1
    elif done.returncode:
        assert "criu" in done.stderr
        pytest.skip(f"CRIU does not work here: {done.stderr.strip()}")
    else:
        wait_until("it has ended", lambda: task(daemon, name)["status"] == "stopped")
        daemon.actr("restore", name, str(tmp / "c"))
        assert task(daemon, name)["status"] == "running"
