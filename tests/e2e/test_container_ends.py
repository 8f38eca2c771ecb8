"""How a container's life ends when something else has gone wrong: no runtime, a reboot in between."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemon import wait_until

from actors.linux.cgroups import MOUNT_ROOT
from cli.following import Output, follow_container, write_through
from cli.session import RefusedError, Session

if TYPE_CHECKING:
    from daemon import Daemon

pytestmark = pytest.mark.root


def test_a_runtime_that_is_not_there_is_said_so_and_leaves_a_container_that_can_be_removed(
    own_daemon: Daemon, busybox: str
):
    own_daemon.actr("create", "--name", "m", "--runtime", "nosuch", busybox, "true")
    for _ in range(2):
        done = own_daemon.actr("start", "m", check=125)
        assert "runtime nosuch is not installed; install it" in done.stderr
    own_daemon.actr("rm", "m")
    assert own_daemon.json("ps", "-a") == []


def test_after_a_reboot_what_had_ended_is_not_run_again_and_keeps_its_exit_code(
    own_daemon: Daemon, busybox: str
):
    own_daemon.actr("run", "--name", "a", busybox, "sh", "-c", "echo once; exit 5", check=5)
    own_daemon.stop()
    shutil.rmtree(own_daemon.state / "containers")  # as a reboot does
    own_daemon.start()
    assert own_daemon.actr("wait", "a").stdout == "5\n"
    assert own_daemon.actr("logs", "a").stdout == "once\n"
    own_daemon.actr("start", "a")
    assert own_daemon.actr("wait", "a").stdout == "5\n"
    assert own_daemon.actr("logs", "a").stdout == "once\nonce\n"
    started = [
        line
        for line in own_daemon.actr("events", "--no-follow").stdout.splitlines()
        if "/tasks/start" in line
    ]
    assert len(started) == 2, "each run has a start of its own, though both are the first of their journal"


def test_who_asks_late_still_hears_why_a_container_that_removes_itself_did_not_start(
    daemon: Daemon, busybox: str
):
    session = Session(str(daemon.state / "actord.sock"), "default")
    body = {
        "namespace": "default",
        "image": busybox,
        "options": {"args": ["true"], "network": {"networks": [{"network": "nobody"}]}},
        "wanted": "running",
        "auto_remove": True,
    }
    with contextlib.closing(session):
        made = session.ask_once("metadata", "containers.create", body)
        wait_until("it has gone", lambda: daemon.actr("ps", "-aq").stdout == "")
        with pytest.raises(RefusedError, match='network "nobody" not found') as refused:
            follow_container(session, made["id"], write_through, Output(session, made["actor"]))
    assert refused.value.error.details == {"exit_code": 125}


def test_one_whose_runtime_hangs_can_be_removed(own_daemon: Daemon, busybox: str):
    """A hook, or a file system that does not answer, is enough. A delete that hangs: test_launch.py."""
    runtime = own_daemon.directory / "runc"
    runtime.write_text('#!/bin/sh\ncase "$*" in *" run "*) touch $0.begun; exec sleep 600 ;; esac\n')
    runtime.chmod(0o755)
    own_daemon.actr("create", "--name", "h", "--runtime", str(runtime), busybox, "true")
    starting = own_daemon.popen("start", "h")
    wait_until("it hangs", (runtime.parent / "runc.begun").exists)
    own_daemon.actr("rm", "-f", "h")
    starting.communicate(timeout=60)
    assert starting.returncode
    assert own_daemon.json("ps", "-a") == []


def test_one_whose_runtime_hangs_in_an_exec_leaves_nothing(daemon: Daemon, busybox: str):
    runtime = daemon.directory / "runc"
    runtime.write_text(
        '#!/bin/sh\ncase "$*" in *" exec "*) echo $$ > $0.pid; exec sleep 600 ;; esac\nexec runc "$@"\n'
    )
    runtime.chmod(0o755)
    daemon.actr("run", "-d", "--name", "hx", "--runtime", str(runtime), busybox, "sleep", "600")
    with daemon.popen("exec", "hx", "true") as asking:
        pid = int(wait_until("it hangs", (runtime.parent / "runc.pid").read_text))
        daemon.actr("rm", "-f", "hx")
        wait_until("its runtime has gone", lambda: not Path(f"/proc/{pid}").exists())
        assert asking.wait(60)


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_a_cgroup_parent_that_was_made_for_containers_goes_with_the_last(
    daemon: Daemon, busybox: str, runtime: str
):
    parent = f"/actord-ends-{os.getpid()}"
    words = ("run", "-d", "--runtime", runtime, "--cgroup-parent", f"{parent}/deep")
    for name in ("one", "two"):
        daemon.actr(*words, "--name", name, busybox, "sleep", "600")
    daemon.actr("rm", "-f", "one")
    assert [path for path in MOUNT_ROOT.glob(f"*{parent}/deep/default/*") if path.is_dir()]
    daemon.actr("rm", "-f", "two")
    assert list(MOUNT_ROOT.glob(f"*{parent}")) == []
