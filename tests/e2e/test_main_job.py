"""The main job, as a person does it: pull, run, look, stop, remove."""

from __future__ import annotations

import signal
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import images
import pytest
from daemon import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from daemon import Daemon

pytestmark = pytest.mark.root


def test_run_prints_what_the_container_prints(daemon: Daemon, busybox: str):
    done = daemon.actr("run", "--rm", busybox, "echo", "hello")
    assert (done.stdout, done.stderr) == ("hello\n", "")


def test_the_exit_code_of_run_is_the_containers(daemon: Daemon, busybox: str):
    daemon.actr("run", "--rm", busybox, "sh", "-c", "exit 7", check=7)
    daemon.actr("run", "--rm", busybox, "sh", "-c", "kill -9 $$", check=0)  # a pid 1 cannot kill itself
    daemon.actr("run", "--rm", busybox, "sh", "-c", "sh -c 'kill -9 $$'; exit $?", check=137)


def test_standard_error_is_apart_and_bytes_are_kept(daemon: Daemon, busybox: str):
    script = r"printf '\377\000\r\n' ; echo oops >&2"
    with daemon.popen("run", "--rm", busybox, "sh", "-c", script) as run:
        out, err = run.communicate(timeout=30)
    assert (out, err, run.returncode) == (b"\xff\x00\r\n", b"oops\n", 0)


def test_a_large_output_arrives_whole(daemon: Daemon, busybox: str):
    done = daemon.actr("run", "--rm", busybox, "seq", "1", "300000")
    assert done.stdout == "".join(f"{n}\n" for n in range(1, 300_001))


def test_a_detached_container_by_its_name(daemon: Daemon, busybox: str):
    script = "trap 'exit 3' TERM; echo ready; while true; do sleep 0.05; done"
    container = daemon.actr("run", "-d", "--name", "web", busybox, "sh", "-c", script).stdout.strip()
    assert len(container) == 64
    wait_until("its output", lambda: daemon.actr("logs", "web").stdout == "ready\n")
    assert [one["name"] for one in daemon.json("ps")] == ["web"]
    assert daemon.actr("exec", "web", "sh", "-c", "echo in; exit 5", check=5).stdout == "in\n"
    assert daemon.actr("exec", container[:12], "hostname").stdout.strip() == container[:12]
    inspected = daemon.json("inspect", "web")
    assert inspected["id"] == container
    assert inspected["task"]["status"] == "running"
    daemon.actr("rm", "web", check=1)
    daemon.actr("stop", "web")
    assert daemon.actr("wait", "web").stdout.strip() == "3"
    (listed,) = [one for one in daemon.json("ps", "-a") if one["name"] == "web"]
    assert (listed["task"]["status"], listed["task"]["exit_code"]) == ("stopped", 3)
    assert daemon.json("ps") == []
    daemon.actr("start", "web")
    assert [one["name"] for one in daemon.json("ps")] == ["web"]
    daemon.actr("kill", "-s", "KILL", "web")
    assert daemon.actr("wait", "web").stdout.strip() == "137"
    daemon.actr("rm", "web")
    assert daemon.json("ps", "-a") == []


def test_rm_force_ends_a_running_container(daemon: Daemon, busybox: str):
    daemon.actr("run", "-d", "--name", "stubborn", busybox, "sleep", "1000")
    daemon.actr("rm", "-f", "stubborn")
    assert daemon.json("ps", "-a") == []


def test_stop_kills_what_does_not_listen(daemon: Daemon, busybox: str):
    daemon.actr(
        "run", "-d", "--name", "deaf", busybox, "sh", "-c", "trap '' TERM; while true; do sleep 1; done"
    )
    daemon.actr("stop", "-t", "0.2", "deaf")
    assert daemon.actr("wait", "deaf").stdout.strip() == "137"
    daemon.actr("rm", "deaf")


def test_logs_follow_to_the_end(daemon: Daemon, busybox: str):
    script = "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done"
    daemon.actr("run", "-d", "--name", "counting", busybox, "sh", "-c", script)
    assert daemon.actr("logs", "-f", "counting").stdout == "1\n2\n3\n4\n5\n"
    daemon.actr("rm", "counting")


def test_options_reach_the_container(daemon: Daemon, busybox: str):
    script = "echo $A-$PATH; pwd; id -u; hostname; touch /x || echo read-only"
    words = ("-e", "A=b", "-w", "/tmp", "-u", "1000:1000", "--hostname", "there", "--read-only")
    done = daemon.actr("run", "--rm", *words, busybox, "sh", "-c", script)
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert done.stdout.splitlines() == [f"b-{path}", "/tmp", "1000", "there", "read-only"]


def test_the_default_confines(daemon: Daemon, busybox: str):
    script = "grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; ls /proc/self/fd | wc -l; ip -o link"
    lines = daemon.actr("run", "--rm", busybox, "sh", "-c", script).stdout.splitlines()
    effective = int(lines[0].split()[1], 16)
    assert effective & (1 << 21) == 0  # CAP_SYS_ADMIN
    assert [line.split()[1] for line in lines[1:3]] == ["1", "2"]
    assert lines[3] == "4"  # 0, 1, 2 and that of the listing itself: nothing of ours leaks in
    assert [line.split(":")[1].strip() for line in lines[4:]] == ["lo"]


def test_images_listed_and_removed(daemon: Daemon, busybox: str, registry):
    other = busybox.replace(":latest", ":other")
    subprocess.run(
        ["skopeo", "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false",
         f"docker://{busybox}", f"docker://{other}"], check=True, capture_output=True,
    )  # fmt: skip
    daemon.actr("pull", other)
    assert {one["name"] for one in daemon.json("images")} == {busybox, other}
    daemon.actr("rmi", other)
    assert {one["name"] for one in daemon.json("images")} == {busybox}
    fetched = len(registry.served("GET", "/blobs/"))
    daemon.actr("pull", busybox)  # everything is there: only the manifest is asked for
    assert len(registry.served("GET", "/blobs/")) == fetched


def test_an_image_in_use_is_not_removed(daemon: Daemon, busybox: str):
    daemon.actr("create", "--name", "user", busybox)
    refused = daemon.actr("rmi", busybox, check=1)
    assert "user" in refused.stderr
    daemon.actr("rm", "user")


def test_events_tell_the_story_once(daemon: Daemon, busybox: str):
    container = daemon.actr("run", "-d", busybox, "true").stdout.strip()
    daemon.actr("wait", container)
    daemon.actr("rm", container)
    events = daemon.json("events", "--since", "1", "--no-follow")
    topics = [
        one["topic"]
        for one in events
        if container in (one["body"].get("container_id"), one["body"].get("id"))
    ]
    assert topics == ["/containers/create", "/tasks/start", "/tasks/exit", "/containers/delete"]
    assert [one["seq"] for one in events] == sorted(one["seq"] for one in events)


def test_the_tree_is_shown(daemon: Daemon):
    actors = daemon.actors()
    expected = {"zygote", "supervisor", "router", "events", "metadata", "content", "snapshots", "network"}
    assert expected <= actors.keys()
    for one in actors.values():
        assert {"name", "state", "pid", "incarnation", "restarts", "memory"} <= one.keys()
        assert one["state"] == "running"
    assert len({one["pid"] for one in actors.values()}) == len(actors)


def test_version_and_info(daemon: Daemon):
    assert "0.1.0" in daemon.actr("version").stdout
    info = daemon.json("info")
    assert info["root"] == str(daemon.root)
    assert info["runtime"] == "runc"


def test_namespaces_keep_names_apart(daemon: Daemon, busybox: str):
    daemon.containers.append("other")
    daemon.actr("--namespace", "other", "pull", busybox)
    for namespace in ("default", "other"):
        daemon.actr("--namespace", namespace, "run", "-d", "--name", "same", busybox, "sleep", "1000")
    assert len(daemon.json("ps")) == 1
    daemon.actr("rm", "-f", "same")
    assert [one["name"] for one in daemon.json("--namespace", "other", "ps")] == ["same"]
    missing = daemon.actr("logs", "same", check=1)
    assert 'exists in namespace "other"' in missing.stderr
    daemon.actr("--namespace", "other", "rm", "-f", "same")


def test_an_interrupted_run_passes_the_signal_on(daemon: Daemon, busybox: str):
    script = "trap 'exit 9' INT; echo up; while true; do sleep 0.05; done"
    with daemon.popen("run", "--rm", busybox, "sh", "-c", script) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"up\n"
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=20)
    assert run.returncode == 9


def test_metrics_are_served(daemon: Daemon, busybox: str):
    container = daemon.actr("run", "-d", busybox, "sleep", "1000").stdout.strip()
    port = int((daemon.state / "metrics.port").read_text())
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    assert 'actord_actor_up{actor="metadata",kind="metadata"} 1.0' in text
    assert f'container_memory_usage_usage_bytes{{container_id="{container}"' in text
    daemon.actr("rm", "-f", container)


def test_crun_does_the_same(daemon: Daemon, busybox: str):
    done = daemon.actr("run", "--rm", "--runtime", "crun", busybox, "sh", "-c", "echo hello; exit 7", check=7)
    assert done.stdout == "hello\n"
    daemon.actr("run", "-d", "--runtime", "crun", "--name", "c", busybox, "sleep", "1000")
    assert daemon.actr("exec", "c", "echo", "in").stdout == "in\n"
    daemon.actr("exec", "c", "nope", check=127)
    daemon.actr("run", "--rm", "--runtime", "crun", busybox, "nope", check=127)
    daemon.actr("rm", "-f", "c")


def test_stop_sends_the_signal_that_the_image_names(daemon: Daemon, registry, tmp: Path):
    layout = images.busybox(tmp / "polite", "polite", config={"StopSignal": "SIGUSR1"})
    name = f"{registry.host}/library/polite:latest"
    images.push(layout, "polite", name)
    script = "trap 'exit 11' USR1; trap 'exit 12' TERM; echo ready; while true; do sleep 0.05; done"
    daemon.actr("run", "-d", "--name", "polite", name, "sh", "-c", script)
    wait_until("ready", lambda: daemon.actr("logs", "polite").stdout == "ready\n")
    daemon.actr("stop", "polite")
    assert daemon.actr("wait", "polite").stdout.strip() == "11"
    daemon.actr("rm", "polite")
    daemon.actr("rmi", name)


def test_an_image_pulled_right_after_its_removal_is_there(daemon: Daemon, busybox: str, registry):
    other = busybox.replace(":latest", ":again")
    subprocess.run(
        ["skopeo", "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false",
         f"docker://{busybox}", f"docker://{other}"], check=True, capture_output=True,
    )  # fmt: skip
    for _ in range(3):
        daemon.actr("pull", other)
        assert other in {one["name"] for one in daemon.json("images")}
        daemon.actr("rmi", other)
