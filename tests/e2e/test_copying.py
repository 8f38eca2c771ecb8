"""actr cp: both ways, running or not, and against a container that swaps a directory for a link meanwhile."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemon import wait_until

if TYPE_CHECKING:
    from daemon import Daemon

pytestmark = pytest.mark.root

SWAP = """mkdir /real; ln -s {outside} /trap; mkdir /dir
while :; do mv /dir /dir.0; mv /trap /dir; mv /dir /trap; mv /dir.0 /dir; done"""


def test_both_ways_running_or_not(daemon: Daemon, busybox: str, tmp: Path):
    name = f"c{uuid.uuid4().hex[:8]}"
    daemon.actr("create", "--name", name, "-v", "/vol", busybox, "sleep", "300")
    tree = tmp / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep/file").write_bytes(os.urandom(700_000))
    (tree / "link").symlink_to("deep/file")
    daemon.actr("cp", str(tree), f"{name}:/opt")  # is not there: takes its name
    daemon.actr("start", name)
    assert daemon.actr("exec", name, "readlink", "/opt/link").stdout == "deep/file\n"
    daemon.actr("cp", str(tree), f"{name}:/vol")  # a mount, seen in the running one
    assert daemon.actr("exec", name, "ls", "/vol/tree").stdout == "deep\nlink\n"
    daemon.actr("cp", f"{tree}/.", f"{name}:/tmp")
    daemon.actr("exec", name, "chmod", "4755", "/tmp/deep/file")
    daemon.actr("cp", f"{name}:/tmp/deep", str(tmp / "back"))
    assert (tmp / "back/file").read_bytes() == (tree / "deep/file").read_bytes()
    assert (tmp / "back/file").stat().st_mode & 0o7777 == 0o755, "no set-id bit comes out of a container"
    assert "is not in the container" in daemon.actr("cp", f"{name}:/nothing", str(tmp), check=1).stderr
    daemon.actr("stop", "-t", "0.1", name)
    daemon.actr("cp", f"{name}:/opt/deep/file", str(tmp / "single"))
    assert (tmp / "single").read_bytes() == (tree / "deep/file").read_bytes()
    daemon.actr("rm", name)
    assert list((daemon.root / "spool").glob("*/*")) == []


def test_the_contents_of_a_directory_come_out_into_one_that_is_there_or_not(
    daemon: Daemon, busybox: str, tmp: Path
):
    name = f"c{uuid.uuid4().hex[:8]}"
    script = "mkdir -p /d/deep; echo 1 > /d/one; echo 2 > /d/deep/two; ln /d/one /d/again; sleep 300"
    daemon.actr("run", "-d", "--name", name, busybox, "sh", "-c", script)
    wait_until("it is made", lambda: "again" in daemon.actr("exec", name, "ls", "/d").stdout)
    (tmp / "there").mkdir()
    for target in ("there", "new"):
        daemon.actr("cp", f"{name}:/d/.", str(tmp / target))
        found = {str(one.relative_to(tmp / target)) for one in (tmp / target).rglob("*")}
        assert found == {"one", "again", "deep", "deep/two"}
        assert (tmp / target / "again").read_text() == "1\n"
    daemon.actr("stop", "-t", "0", name)
    daemon.actr("cp", f"{name}:/.", str(tmp / "root"))
    assert (tmp / "root/d/deep/two").read_text() == "2\n"
    daemon.actr("rm", name)


def test_what_is_no_file_here_is_not_replaced_by_one(daemon: Daemon, busybox: str, tmp: Path):
    name = f"c{uuid.uuid4().hex[:8]}"
    daemon.actr("create", "--name", name, busybox)
    os.mkfifo(tmp / "fifo")
    done = daemon.actr("cp", f"{name}:/etc/passwd", str(tmp / "fifo"), check=2)
    assert "is no file or directory" in done.stderr
    assert (tmp / "fifo").is_fifo()
    daemon.actr("rm", name)


def test_files_are_had_though_the_network_is_not(daemon: Daemon, busybox: str, tmp: Path):
    names = [f"c{uuid.uuid4().hex[:8]}" for _ in range(2)]
    daemon.actr("create", "--name", names[0], busybox, "true")
    shared = daemon.json("inspect", names[0])["id"]
    daemon.actr("create", "--name", names[1], "--net", f"container:{shared}", busybox, "true")
    (tmp / "file").write_text("here")
    daemon.actr("cp", str(tmp / "file"), f"{names[1]}:/file")
    daemon.actr("cp", f"{names[1]}:/file", str(tmp / "back"))
    assert (tmp / "back").read_text() == "here"
    daemon.actr("rm", *names)
    assert list((daemon.state / "netns").iterdir()) == []


def test_a_racing_swapper_gets_nothing_outside(daemon: Daemon, busybox: str, tmp: Path):
    outside, secret = tmp / "outside", uuid.uuid4().hex
    outside.mkdir()
    (outside / "file").write_text(secret)
    (tmp / "file").write_text("planted")
    name = f"c{uuid.uuid4().hex[:8]}"
    daemon.actr("run", "-d", "--name", name, busybox, "sh", "-c", SWAP.format(outside=outside))
    before = outside.stat()
    for turn in range(15):
        daemon.actr("cp", str(tmp / "file"), f"{name}:/dir/file", check=None)
        daemon.actr("cp", f"{name}:/dir", str(tmp / f"out{turn}"), check=None)
    # What was a link when it was copied is one now; what was a directory must be one of the container's.
    outs = [path for path in tmp.glob("out[0-9]*") if not path.is_symlink()]
    found = [path for out in outs for path in out.rglob("*") if path.is_file() and not path.is_symlink()]
    assert secret not in "".join(path.read_text() for path in found)
    assert (outside / "file").read_text() == secret
    assert [entry.name for entry in outside.iterdir()] == ["file"]
    assert (outside.stat().st_mtime_ns, outside.stat().st_mode) == (before.st_mtime_ns, before.st_mode)
    daemon.actr("rm", "-f", name)


def test_all_of_a_running_container_comes_out(daemon: Daemon, busybox: str, tmp: Path):
    """Not what the kernel shows in it: its files have no end, no size, or no meaning elsewhere."""
    name = f"c{uuid.uuid4().hex[:8]}"
    script = "echo mine > /mine; ln /mine /again; echo t > /tmp/t; touch /ready; sleep 300"
    words = ("--tmpfs", "/tmp", "-v", "/vol")
    daemon.actr("run", "-d", "--name", name, *words, busybox, "sh", "-c", script)
    wait_until("it is made", lambda: "ready" in daemon.actr("exec", name, "ls", "/").stdout)
    for path, target in (("/.", "dot"), ("/", "slash")):
        daemon.actr("cp", f"{name}:{path}", str(tmp / target))
        assert (tmp / target / "mine").read_text() == "mine\n"
        assert (tmp / target / "again").samefile(tmp / target / "mine")
        assert (tmp / target / "tmp/t").read_text() == "t\n"
        assert (tmp / target / "vol").is_dir()
        assert (tmp / target / "bin/busybox").stat().st_size
        assert list((tmp / target / "proc").iterdir()) == []
        assert list((tmp / target / "sys").iterdir()) == []
    daemon.actr("rm", "-f", name)
