"""Debian's ctr, unmodified, on actord."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
import pytest
from daemon import Daemon, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def served(short_root: Path) -> Iterator[Daemon]:
    with running(Path(tempfile.mkdtemp(prefix="g-", dir=short_root))) as daemon:
        socket = daemon.state / "containerd.sock"
        wait_until("the socket is there", socket.exists)
        yield daemon


class Ctr:
    """The command, on one daemon."""

    def __init__(self, socket: Path) -> None:
        self.command = ["ctr", "--address", str(socket)]

    def __call__(self, *words: str, fails: bool = False) -> str:
        done = subprocess.run(
            [*self.command, *words], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode != 0) == fails, (words, done.stdout, done.stderr)
        return done.stderr if fails else done.stdout

    def ends(self, code: int, *words: str) -> None:
        """It ends so."""
        done = subprocess.run(
            [*self.command, *words], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, (words, done.stdout, done.stderr)

    def said(self, *words: str) -> str:
        """What it says beside its output."""
        done = subprocess.run([*self.command, *words], capture_output=True, text=True, timeout=60, check=True)
        return done.stderr

    def bytes_of(self, *words: str) -> bytes:
        """What it prints, when that is no text."""
        done = subprocess.run([*self.command, *words], capture_output=True, timeout=60, check=True)
        return done.stdout


@pytest.fixture
def ctr(served: Daemon) -> Ctr:
    return Ctr(served.state / "containerd.sock")


def test_version_and_plugins(ctr: Ctr):
    assert "Version:  actord " in ctr("version")
    assert "io.containerd.snapshotter.v1    overlayfs" in ctr("plugins", "ls")


def test_the_socket_is_closed_to_others(served: Daemon):
    assert (served.state / "containerd.sock").stat().st_mode & 0o777 == 0o660


def test_namespaces(ctr: Ctr):
    ctr("namespaces", "create", "x", "a=b")
    assert "already exists" in ctr("namespaces", "create", "x", fails=True)
    ctr("namespaces", "label", "x", "c=d")
    assert "a=b,c=d" in ctr("namespaces", "ls")
    ctr("-n", "x", "leases", "create", "--id", "held")
    ctr("namespaces", "rm", "x")
    assert "x " not in ctr("namespaces", "ls")


def test_what_one_api_writes_the_other_reads(ctr: Ctr, served: Daemon, busybox: str):
    served.actr("pull", busybox)
    assert busybox in ctr("images", "ls", "-q")
    ctr("images", "tag", busybox, "example.org/own:1")
    assert "example.org/own:1" in {one["name"] for one in served.json("images")}
    ctr("images", "label", busybox, "x=y")
    assert next(one for one in served.json("images") if one["name"] == busybox)["labels"] == {"x": "y"}
    digest = next(one["target"]["digest"] for one in served.json("images") if one["name"] == busybox)
    assert json.loads(ctr("content", "get", digest))["schemaVersion"] == 2
    assert "not found" in ctr("-n", "other", "content", "get", digest, fails=True)
    ctr("images", "rm", "example.org/own:1")
    assert "example.org/own:1" not in ctr("images", "ls", "-q")


def test_content_is_written_resumed_and_checked(ctr: Ctr, served: Daemon, tmp: Path):
    digest = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"  # of foo
    socket = str(served.state / "containerd.sock")
    words = ["ctr", "--address", socket, "content", "ingest", "--expected-digest", digest, "one"]

    def is_held() -> bool:
        """A collection may come between, and take what nothing holds yet."""
        done = subprocess.run(words, input=b"foo", capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        label = [*ctr.command, "content", "label", digest, "containerd.io/gc.root=1", "k=v"]
        return subprocess.run(label, capture_output=True, timeout=60, check=False).returncode == 0

    wait_until("it is held", is_held)
    assert ctr("content", "get", digest) == "foo"
    assert "k=v" in ctr("content", "ls")
    other = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"  # of x
    wrong = [other if word == digest else word for word in words[:-1]] + ["two"]
    done = subprocess.run(wrong, input="bar", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert f"not {other}" in done.stderr
    ctr("content", "rm", digest)
    assert digest not in ctr("content", "ls", "-q")


def test_snapshots(ctr: Ctr):
    assert "upperdir" in ctr("snapshots", "prepare", "--target", "/mnt", "a") or ctr("snapshots", "ls")
    ctr("snapshots", "commit", "layer", "a")
    ctr("snapshots", "prepare", "b", "layer")
    listed = ctr("snapshots", "ls")
    assert "Committed" in listed
    assert "Active" in listed
    assert "layer" in ctr("snapshots", "tree")
    assert "already exists" in ctr("snapshots", "prepare", "b", "layer", fails=True)
    assert "failed precondition" in ctr("snapshots", "rm", "layer", fails=True)
    ctr("snapshots", "label", "b", "k=v")
    assert '"k": "v"' in ctr("snapshots", "info", "b")
    assert "/" in ctr("snapshots", "mounts", "/mnt", "b")
    ctr("snapshots", "rm", "b")
    ctr("snapshots", "rm", "layer")
    assert "not found" in ctr("snapshots", "rm", "layer", fails=True)


def test_images_are_pulled_and_go_round(ctr: Ctr, busybox: str, tmp: Path):
    """Fetched, unpacked, mounted, compared, exported, imported and pushed where nothing was."""
    ctr("-n", "fresh", "images", "pull", busybox)
    assert "complete" in ctr("-n", "fresh", "images", "check")
    (tmp / "root").mkdir()
    key = str(tmp / "root")
    ctr("-n", "fresh", "images", "mount", "--rw", busybox, key)
    try:
        assert (tmp / "root/bin/busybox").stat().st_size > 10_000
        (tmp / "root/own").write_text("changed")
        (tmp / "root/etc/passwd").unlink()
    finally:
        ctr("-n", "fresh", "images", "unmount", key)
    packed = ctr.bytes_of("-n", "fresh", "snapshots", "diff", key)
    with tarfile.open(fileobj=io.BytesIO(packed)) as layer:
        assert {"own", "etc/.wh.passwd"} <= {name.removeprefix("./") for name in layer.getnames()}
    ctr("-n", "fresh", "snapshots", "rm", key)
    ctr("-n", "fresh", "images", "export", str(tmp / "image.tar"), busybox)
    ctr("-n", "again", "images", "import", str(tmp / "image.tar"))
    assert busybox in ctr("-n", "again", "images", "ls", "-q")
    pushed = busybox.replace("busybox", "pushed")
    ctr("-n", "fresh", "images", "convert", "--platform", "linux/amd64", busybox, pushed)
    ctr("-n", "fresh", "images", "push", pushed)
    ctr("-n", "fresh", "images", "pull", pushed)


def test_containers_on_record(ctr: Ctr, served: Daemon, busybox: str):
    ctr("images", "pull", busybox)
    ctr("containers", "create", "--label", "own=1", busybox, "kept", "sh")
    assert "already exists" in ctr("containers", "create", busybox, "kept", "sh", fails=True)
    listed = next(line for line in ctr("containers", "ls").splitlines() if line.startswith("kept"))
    assert listed.split() == ["kept", busybox, "io.containerd.runc.v2"]
    ctr("containers", "label", "kept", "with.dots=2")
    found = json.loads(ctr("containers", "info", "kept"))
    assert found["Labels"]["own"] == "1"
    assert found["Labels"]["with.dots"] == "2"
    assert found["Spec"]["process"]["args"] == ["sh"]
    assert (found["Snapshotter"], found["SnapshotKey"]) == ("overlayfs", "kept")
    assert "kept" in {one["id"] for one in served.json("ps", "-a")}
    assert "not found" in ctr("-n", "other", "containers", "info", "kept", fails=True)
    ctr("containers", "rm", "kept")
    assert "not found" in ctr("containers", "info", "kept", fails=True)
    assert "kept" not in ctr("snapshots", "ls")


def test_run(ctr: Ctr, busybox: str):
    ctr("images", "pull", busybox)
    assert ctr("run", "--rm", busybox, "first", "echo", "hello") == "hello\n"
    ctr.ends(7, "run", "--rm", busybox, "second", "sh", "-c", "exit 7")
    assert "executable file not found" in ctr("run", "--rm", busybox, "third", "no-such-program", fails=True)
    assert ctr("containers", "ls", "-q") == ctr("tasks", "ls", "-q") == ""


def test_tasks(ctr: Ctr, served: Daemon, busybox: str):
    ctr("images", "pull", busybox)
    ctr("run", "-d", busybox, "long", "sleep", "1000")
    pid, status = next(line for line in ctr("tasks", "ls").splitlines() if "long" in line).split()[1:]
    assert status == "RUNNING"
    assert pid in ctr("tasks", "ps", "long")
    assert ctr("tasks", "exec", "--exec-id", "one", "long", "echo", "inside") == "inside\n"
    ctr.ends(3, "tasks", "exec", "--exec-id", "two", "long", "sh", "-c", "exit 3")
    assert "memory.usage" in ctr("tasks", "metrics", "long")
    ctr("tasks", "pause", "long")
    assert "PAUSED" in ctr("tasks", "ls")
    ctr("tasks", "resume", "long")
    assert "must be stopped" in ctr("tasks", "rm", "long", fails=True)
    assert next(one for one in served.json("ps") if one["id"] == "long")["task"]["pid"] == int(pid)
    ctr("tasks", "kill", "-s", "KILL", "long")
    wait_until("it has stopped", lambda: "STOPPED" in ctr("tasks", "ls"))
    assert "already finished" in ctr("tasks", "kill", "long", fails=True)
    assert "non-zero exit code 137" in ctr.said("tasks", "rm", "long")
    assert "long" not in ctr("tasks", "ls")
    ctr("containers", "rm", "long")


def test_a_terminal(ctr: Ctr, busybox: str):
    ctr("images", "pull", busybox)
    words = [*ctr.command, "run", "--rm", "-t", busybox, "typed", "sh"]
    child = pexpect.spawn(words[0], words[1:], timeout=30, dimensions=(33, 77))
    child.expect("# ")
    child.sendline("until stty size; do :; done; tty")
    child.expect("33 77")
    child.expect("/dev/")
    child.sendline("exit 4")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 4


def test_the_gateway_comes_back(ctr: Ctr, served: Daemon):
    ctr("leases", "create")  # it makes the namespace
    old = served.kill_actor("grpc")
    wait_until("healed", lambda: served.healed("grpc", old))
    wait_until("it serves", lambda: subprocess.run(
        ["ctr", "--address", str(served.state / "containerd.sock"), "version"],
        capture_output=True, timeout=60, check=False).returncode == 0)  # fmt: skip
    assert "default" in ctr("namespaces", "ls")


def _asked(daemon: Daemon) -> Counter[str]:
    """How many requests of each operation have been answered."""
    with daemon.client_in_use() as client:
        ended = client.request("router.traffic", {}, to="router")["ended"]
    found: Counter[str] = Counter()
    for operation, _, count in ended:
        found[operation] += count
    return found


def test_what_is_only_looked_up_is_asked_of_nobody(ctr: Ctr, served: Daemon, busybox: str):
    """Each question between actors is 1.5 ms of a run; of sixty that only looked, these are left."""
    ctr("images", "pull", busybox)
    ctr("run", "--rm", busybox, "first", "true")
    before = _asked(served)
    ctr("run", "--rm", busybox, "counted", "true")
    more = _asked(served) - before
    looks = (
        "content.info",
        "contents.get",
        "images.get",
        "namespaces.list",
        "snapshots.stat",
        "snapshots.mounts",
    )
    assert {name: more[name] for name in looks} == dict.fromkeys(looks, 0)
    assert more["containers.get"] <= 1, more  # the container's own actor
    assert more["tasks.state"] <= 4, more  # as often as ctr asks, and once more
    assert more["network.detach"] + more["volumes.forget"] == 0, more
