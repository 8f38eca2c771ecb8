"""One trace id from the client to the runtime, and what the log says of it; with a real daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from daemon import CHECKOUT, Daemon, running, wait_until
from gateway_api import Api
from systemd_journal import journald, listening, read

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GATEWAY, OTHER = "b7ad6b7169203331b7ad6b7169203331", "0af7651916cd43dd8448eb211c80319c"
PROGRAM = """
import sys
from actord_client import Client
with Client(sys.argv[1]) as actord:
    print(actord.trace)
    actord.request("images.list", {"namespace": "default"}, to="metadata")
    actord.trace = actord.trace[::-1]
    print(actord.trace)
    actord.request("namespaces.list", {}, to="metadata")
"""
CONCERNED = {"metadata", "supervisor", "bundles", "snapshots", "events"}
SPANS = {"containers.create", "children.start", "bundles.expect", "snapshots.prepare", "tasks.output"}


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

        client = replace(Api.at(daemon.state / "containerd.sock"), traceparent=f"00-{GATEWAY}-{SPAN}-01")
        client.ask("containerd.services.leases.v1.Leases", "Create", id="held")
        client.channel.close()
        asked = [one for one in records(daemon) if one.get("trace") == GATEWAY]
        assert ("metadata", "leases.create") in {(one["actor"], one["operation"]) for one in asked}

        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "clients/python")}
        environment.pop("TRACEPARENT", None)
        command = [sys.executable, "-P", "-c", PROGRAM, daemon.state / "connection.json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        first, second = done.stdout.split()
        asked = {(one.get("trace"), one.get("operation")) for one in records(daemon)}
        assert {(first, "images.list"), (second, "namespaces.list")} <= asked

        # What goes wrong, and what is no trace.
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


class Collector(ThreadingHTTPServer):
    """Takes OTLP as a collector does; `spans` is what has come, decoded."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Receiver)
        self.spans: list[dict[str, Any]] = []
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self.thread.join()

    def of(self, trace: str) -> dict[str, dict[str, Any]]:
        """By the name of the operation; of one that was asked more than once, the first."""
        return {one["name"]: one for one in reversed(self.spans) if one["traceId"] == trace}


class Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        found = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/json")
        for resource in found["resourceSpans"]:
            said = {one["key"]: one["value"]["stringValue"] for one in resource["resource"]["attributes"]}
            assert said["service.name"] == "actord"
            self.server.spans += [one for scope in resource["scopeSpans"] for one in scope["spans"]]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_collector_gets_a_tree_of_spans_and_a_dead_one_costs_nothing(tmp: Path, busybox: str):
    collector = Collector()
    endpoint = f"http://127.0.0.1:{collector.server_port}"
    with running(tmp, settings=f'[tracing]\notlp_endpoint = "{endpoint}"\n') as daemon:
        try:
            daemon.actr("pull", busybox)
            daemon.actr("run", "--rm", "--trace", f"00-{TRACE}-{SPAN}-01", busybox, "true")
            daemon.actr("inspect", "--trace", OTHER, "nobody", check=1)
            wait_until("all has come", lambda: collector.of(TRACE).keys() >= SPANS)
            wait_until("the failure has come", lambda: "containers.get" in collector.of(OTHER))
        finally:
            collector.close()
        found = collector.of(TRACE)
        create, start, make = (
            found[name] for name in ("containers.create", "children.start", "bundles.expect")
        )
        assert create["parentSpanId"] == SPAN
        assert start["parentSpanId"] == make["parentSpanId"] == create["spanId"]
        assert found["snapshots.prepare"]["parentSpanId"] == make["spanId"]
        assert int(create["startTimeUnixNano"]) <= int(start["startTimeUnixNano"])
        assert int(start["endTimeUnixNano"]) <= int(create["endTimeUnixNano"])
        assert {"key": "actord.actor", "value": {"stringValue": "metadata"}} in create["attributes"]
        assert create["status"] == {"code": 1}
        failed = collector.of(OTHER)["containers.get"]
        assert (failed["status"], "parentSpanId" in failed) == ({"code": 2, "message": "not_found"}, False)

        # Nobody listens any more: said once, and everything goes on.
        for _ in range(3):
            daemon.actr("run", "--rm", busybox, "true")
        wait_until("it is missed", lambda: f"no spans for {endpoint}" in daemon.log.read_text())
        daemon.actr("run", "--rm", busybox, "true")
        assert daemon.log.read_text().count("no spans for") == 1


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
