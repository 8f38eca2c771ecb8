"""actr system, content and leases, on a daemon with a real image."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from daemon import Daemon

pytestmark = pytest.mark.root


def test_what_an_image_leaves_is_collected(own_daemon: Daemon, busybox: str):
    daemon = own_daemon
    daemon.actr("run", "--name", "one", busybox, "true")
    before = {one["digest"] for one in daemon.json("content", "ls")}
    assert before
    assert daemon.json("leases", "ls") == [], "the pull has released what it held"
    assert daemon.json("system", "check") == []
    daemon.actr("rmi", "-f", busybox)
    daemon.actr("system", "gc")
    assert {one["digest"] for one in daemon.json("content", "ls")} <= before
    daemon.actr("start", "one")  # its image's config and layers are held by it
    assert daemon.actr("wait", "one").stdout.strip() == "0"
    daemon.actr("rm", "one")
    daemon.actr("system", "gc")
    assert daemon.json("content", "ls") == []
    assert {row["kind"]: row["count"] for row in daemon.json("system", "df")} == dict.fromkeys(
        ("images", "containers", "blobs", "layers", "writable", "ingests"), 0
    )
    assert daemon.json("system", "check") == []


def test_a_damaged_blob_is_found_and_repaired(own_daemon: Daemon, busybox: str):
    daemon = own_daemon
    largest = max(daemon.json("content", "ls"), key=lambda one: one["size"])
    with open(largest["path"], "r+b") as file:  # noqa: PTH123
        file.write(b"damage")
    problems = daemon.actr("system", "check", check=1).stdout
    assert largest["digest"] in problems
    assert "deleted:" in daemon.actr("system", "repair", check=None).stdout
    assert largest["digest"] not in {one["digest"] for one in daemon.json("content", "ls")}
    daemon.actr("pull", busybox)
    assert daemon.json("system", "check") == []


def test_leases_and_backups(own_daemon: Daemon, busybox: str):
    daemon = own_daemon
    root = daemon.json("inspect", "--type", "image", busybox)["target"]["digest"]
    lease = daemon.actr("leases", "create", "--ttl", "0").stdout.strip()
    daemon.actr("leases", "add", lease, "content", root)
    daemon.actr("rmi", busybox)
    daemon.actr("system", "gc")
    assert root in {one["digest"] for one in daemon.json("content", "ls")}
    daemon.actr("leases", "rm", "--sync", lease)
    assert daemon.json("content", "ls") == []
    target = daemon.state.parent / "backup"
    files = daemon.json("system", "backup", target)["files"]
    names = sorted(one["name"] for one in files)
    assert names == ["events.db", "metadata.db", "networks.db", "snapshots.db"]
    assert all((target / one["name"]).stat().st_size == one["size"] for one in files)
    daemon.actr("system", "backup", target, check=1)


def test_a_backup_without_room_is_said_at_once_and_leaves_nothing(daemon: Daemon, busybox: str, tmp: Path):
    """Tried again for an hour; and what there was of it was in the way of the next, or taken for whole."""
    del busybox
    small = tmp / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", small], check=True)
    try:
        done = daemon.actr("system", "backup", small / "backup", check=1, seconds=60.0)
        assert f"no space left on device on the file system at {small}, make room there" in done.stderr
        assert list(small.iterdir()) == []
        subprocess.run(["mount", "-o", "remount,size=16m", small], check=True)
        daemon.actr("system", "backup", small / "backup")
        assert [one.name for one in small.iterdir()] == ["backup"]
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_backup_has_the_records_of_each_snapshotter(own_daemon: Daemon, busybox: str):
    own_daemon.actr("pull", "-q", "--snapshotter", "native", busybox)
    target = own_daemon.state.parent / "backup"
    files = own_daemon.json("system", "backup", target)["files"]
    assert {"snapshots.db", "snapshots-native.db"} <= {one["name"] for one in files}
    for name, directory in (("snapshots.db", "snapshots"), ("snapshots-native.db", "snapshots-native")):
        copied, own = (
            _committed(path) for path in (target / name, own_daemon.root / directory / "metadata.db")
        )
        assert copied == own != []


def test_lists_that_no_message_holds(own_daemon: Daemon, busybox: str):
    digests = own_daemon.json("content", "ls")
    labels = {f"key {number}": "x" * 4000 for number in range(1000)}
    names = [f"localhost/many:{number}" for number in range(5)]
    target = own_daemon.json("inspect", "--type", "image", busybox)["target"]
    with own_daemon.client_in_use() as client:
        for name in names:
            wish = {"namespace": "default", "name": name, "target": target, "labels": labels}
            client.request("images.create", wish, to="metadata")
        for one in digests:
            # With what it has: its labels are all that keeps the children of a document.
            wish = {"namespace": "default", "digest": one["digest"], "labels": one["labels"] | labels}
            client.request("content.update", wish, to="content")
    assert set(names) < set(own_daemon.actr("images", "-q").stdout.split())
    assert sorted(own_daemon.actr("content", "ls", "-q").stdout.split()) == [one["digest"] for one in digests]
    assert own_daemon.json("system", "check") == []


def _committed(database: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return [key for (key,) in connection.execute("SELECT key FROM snapshots ORDER BY key")]


def test_the_doctor_finds_the_daemon_well_and_one_that_is_down(own_daemon: Daemon):
    found = {one["subject"]: one for one in own_daemon.json("doctor")}
    assert found["daemon"]["level"] == "ok"
    assert found["runtime"]["level"] == "ok"
    assert [one["subject"] for one in found.values() if one["level"] == "error"] == []
    assert f"space in {own_daemon.root}" in found
    own_daemon.stop()
    down = own_daemon.actr("doctor", check=1).stdout
    assert "no daemon answers" in down
    assert "systemctl status actord" in down
    own_daemon.start()
