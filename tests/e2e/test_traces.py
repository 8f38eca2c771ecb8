"""One trace id from the client to the runtime, and what the log says of it; with a real daemon."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from daemon import CHECKOUT, Daemon, running, wait_until
from systemd_journal import journald, listening, read

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
OTHER = "0af7651916cd43dd8448eb211c80319c"
CONCERNED = {"metadata", "supervisor", "bundles", "network", "snapshots", "events"}


def records(daemon: Daemon) -> list[dict[str, Any]]:
    """Every line of the log is one."""
    return [json.loads(line) for line in daemon.log.read_text().splitlines()]


def test_one_id_from_the_client_to_the_runtime(tmp: Path, busybox: str):
    with running(tmp, "--log-format", "json", "--log-level", "debug") as daemon:
        daemon.actr("pull", "--trace", OTHER, busybox)
        puller = {one["actor"] for one in records(daemon) if one.get("trace") == OTHER}
        assert any(name.startswith("puller/") for name in puller), puller
        parent = f"00-{TRACE}-{SPAN}-01"
        name = daemon.actr("run", "-d", "--trace", parent, busybox, "sleep", "1000").stdout.strip()
        actor = f"container/default/{name}"
        mine = [one for one in records(daemon) if one.get("trace") == TRACE]
        assert {one["actor"] for one in mine} == CONCERNED | {actor}
        assert {one["container"] for one in mine if one["actor"] in (actor, "bundles")} == {name}
        assert all({"time", "level", "pid", "incarnation", "message"} <= one.keys() for one in mine)

        bundle = json.loads((daemon.state / "containers/default" / name / "config.json").read_text())
        assert bundle["annotations"]["actord.trace"] == TRACE
        root = next(daemon.state.glob("**/" + name + "/state.json")).parent.parent
        told = subprocess.run(["runc", "--root", root, "state", name], capture_output=True, check=True)
        assert json.loads(told.stdout)["annotations"]["actord.trace"] == TRACE
        told = daemon.json("events", "--no-follow", "--topic", "/tasks/start")
        assert [event["trace"] for event in told] == [TRACE]
        assert f"trace={TRACE}" in daemon.actr("events", "--debug", "--no-follow").stdout

        # What the runtime and the gateway are told, and what is wrong and is not believed.
        failed = daemon.actr("run", "--debug", "--trace", TRACE, busybox, "/nothing", check=127)
        assert f"actr: trace {TRACE}\n" in failed.stderr
        assert "(tasks.output: failed_precondition, done)" in failed.stderr
        assert "--trace wants 32 hexadecimal digits" in daemon.actr("ps", "--trace", "x", check=2).stderr
        env = {"TRACEPARENT": f"00-{OTHER}-{SPAN}-01", "ACTORD_ADDRESS": str(daemon.state / "actord.sock")}
        command = [CHECKOUT / "bin/actr", "inspect", name]
        subprocess.run(command, env={**os.environ, **env}, capture_output=True, check=True)
        assert any(
            one["actor"] == "metadata" and one["message"].startswith("containers.get")
            for one in records(daemon)
            if one.get("trace") == OTHER
        )


def test_the_journal_finds_records_by_actor_and_trace(tmp: Path, busybox: str):
    """Standard error is said to be the journal, as systemd says it; a crash is one entry."""
    address, log = tmp / "journal", tmp / "log"
    log.touch()
    stream = f"{log.stat().st_dev}:{log.stat().st_ino}"
    settings = f'[logging]\njournal = "{address}"\n'
    with pytest.MonkeyPatch.context() as patch, journald(tmp) as journal:
        address.symlink_to(listening(journal))
        patch.setenv("JOURNAL_STREAM", stream)
        with running(tmp, "--log-level", "debug", settings=settings) as daemon:
            daemon.actr("pull", busybox)
            name = daemon.actr("run", "-d", "--trace", TRACE, busybox, "sleep", "1000").stdout.strip()
            wait_until("it is in the journal", lambda: read(journal, f"ACTOR=container/default/{name}"))
            found = read(journal, f"TRACE={TRACE}")
            assert {one["ACTOR"] for one in found} == CONCERNED | {f"container/default/{name}"}
            assert {one["SYSLOG_IDENTIFIER"] for one in found} == {"actord"}
            assert {one["_PID"] for one in found if one["ACTOR"] == "metadata"} == {
                str(daemon.pid("metadata"))
            }
            assert not daemon.log.read_text(), "what the journal has is not written once more"
            daemon.actr("rm", "-f", name)
