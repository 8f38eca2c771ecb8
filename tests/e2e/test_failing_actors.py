"""A container whose actor cannot start: it is said, it is left to stand, it can be removed, and it heals."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from daemon import Daemon, wait_until

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]


def _bundle(daemon: Daemon, one: dict[str, Any]) -> Path:
    return daemon.state / "containers/default" / one["id"]


def _damaged(daemon: Daemon, busybox: str, document: str, script: str = "sleep 600") -> dict[str, Any]:
    """A container that runs, with an actor that cannot read this, and has given up trying at once."""
    daemon.actr("run", "-d", "--name", "web", busybox, "sh", "-c", script)
    [one] = daemon.json("ps")
    path = _bundle(daemon, one) / document
    if path.exists():
        shutil.copy(path, path.with_suffix(".good"))
    path.write_text('{"state": {"phase": "odd"')
    daemon.kill_actor(one["actor"])
    wait_until("it is said", lambda: "cannot start" in daemon.json("ps")[0]["task"]["error"])
    return one


@pytest.mark.parametrize("document", ["journal.json", "task.json"])
def test_one_that_cannot_start_is_said_so_and_can_be_removed(daemon: Daemon, busybox: str, document: str):
    one = _damaged(daemon, busybox, document)
    shown = daemon.json("inspect", "web")["task"]
    assert (shown["status"], shown["pid"]) == ("running", one["task"]["pid"])
    assert "JSONDecodeError" in shown["error"]
    assert "actor failing" in daemon.actr("ps").stdout
    for words in (("stop", "web"), ("rm", "web"), ("exec", "web", "true")):
        assert "the actor of container web cannot start" in daemon.actr(*words, check=None).stderr
    failed = daemon.log.read_text().count("crashed: ")
    assert failed < 9, "each attempt is one, and the next one takes longer"
    daemon.log.write_text("")
    daemon.actr("rm", "-f", "web")
    assert daemon.json("ps", "-a") == []
    with contextlib.suppress(ProcessLookupError):
        os.kill(one["task"]["pid"], 0)
        pytest.fail("its process has been left")
    wait_until("nothing is left", lambda: not _bundle(daemon, one).exists())


def test_one_whose_actor_can_start_again_is_as_before(daemon: Daemon, busybox: str):
    one = _damaged(daemon, busybox, "journal.json")
    bundle = _bundle(daemon, one)
    (bundle / "journal.good").rename(bundle / "journal.json")
    wait_until("it is well", lambda: not daemon.json("ps")[0]["task"]["error"], 60.0)
    assert daemon.json("ps")[0]["task"]["pid"] == one["task"]["pid"]
    assert daemon.actr("exec", "web", "echo", "hello").stdout == "hello\n"
    wait_until("it counts anew", lambda: not (bundle / "failures.json").exists())
    daemon.actr("rm", "-f", "web")


def test_its_output_is_taken_all_the_same(daemon: Daemon, busybox: str):
    """Its program would wait for room in the pipe, which has 64 KiB."""
    script = "while ! [ -e /go ]; do sleep 0.1; done; seq 100000; echo done >&2; touch /done; sleep 600"
    one = _damaged(daemon, busybox, "journal.json", script)
    root = Path(f"/proc/{one['task']['pid']}/root")
    (root / "go").touch()
    wait_until("it has written it all", (root / "done").exists)
    bundle = _bundle(daemon, one)
    (bundle / "journal.good").rename(bundle / "journal.json")
    wait_until("it is well", lambda: not daemon.json("ps")[0]["task"]["error"], 60.0)
    said = daemon.actr("logs", "web")
    assert said.stdout == "".join(f"{number}\n" for number in range(1, 100001))
    assert said.stderr == "done\n"
    daemon.actr("rm", "-f", "web")


def test_a_journal_of_a_later_version_is_read(daemon: Daemon, busybox: str):
    """Of a downgrade under running containers, whose actors wake as older ones than they slept."""
    check = ("--health-cmd", "true", "--health-interval", "1s")
    daemon.actr("run", "-d", "--name", "web", *check, busybox, "sleep", "600")
    [one] = daemon.json("ps")
    exec_ = daemon.popen("exec", "web", "sleep", "600")
    path = _bundle(daemon, one) / "journal.json"
    wait_until("it has it all", lambda: json.loads(path.read_bytes())["health"]["results"])
    journal = json.loads(path.read_bytes())
    for part in (journal["state"], journal["health"], *journal["execs"].values()):
        part["later"] = {"than": "ours"}
    os.kill(daemon.pid(one["actor"]), signal.SIGSTOP)  # it shall not write it anew
    path.write_text(json.dumps(journal))
    old = daemon.kill_actor(one["actor"])
    wait_until("it is back", lambda: daemon.healed(one["actor"], old))
    assert daemon.actr("exec", "web", "echo", "hello").stdout == "hello\n"
    assert not (path.parent / "failures.json").exists()
    daemon.actr("rm", "-f", "web")
    exec_.communicate(timeout=20)
