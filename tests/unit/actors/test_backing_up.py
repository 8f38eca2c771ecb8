"""A backup is there whole or not at all, and what a dead one has left goes with the next."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from actors import messages as m
from actors.backing_up import backup


class Owners:
    """In the place of the actor: each database is copied as a word; `failing` ends us."""

    def __init__(self, failing=None):
        self.failing = failing

    def call(self, body, *, to="", limit=30.0):
        del to, limit
        if isinstance(body, m.SnapshotsBackup):
            Path(body.directory, "snapshots.db").write_text("snapshots")
            return {"names": ["snapshots.db"]}
        if self.failing == "network" and isinstance(body, m.NetworkBackup):
            os.kill(os.getpid(), signal.SIGKILL)
        Path(body.path).write_text("a copy")
        return {}


def back_up(directory, failing=None):
    return backup(Owners(failing), str(directory))


def test_what_a_killed_backup_left_goes_with_the_next_one(tmp_path):
    dying = multiprocessing.get_context("fork").Process(target=back_up, args=(tmp_path / "first", "network"))
    dying.start()
    dying.join()
    assert dying.exitcode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert {one.name for one in left.iterdir()} == {"metadata.db", "snapshots.db"}
    back_up(tmp_path / "second")
    assert [one.name for one in tmp_path.iterdir()] == ["second"]


@pytest.fixture
def others(tmp_path):
    """What only looks like it, or that somebody is writing."""
    busy = tmp_path / f".busy.{'0' * 16}.partial"
    busy.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f".link.{'0' * 16}.partial").symlink_to("elsewhere")
    (tmp_path / f".file.{'0' * 16}.partial").write_text("somebody's")
    (tmp_path / ".mine.partial").mkdir()
    lock = os.open(busy, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield {one.name for one in tmp_path.iterdir()}
    os.close(lock)


def test_nothing_else_goes(tmp_path, others):
    found = back_up(tmp_path / "new")
    assert [one["name"] for one in found["files"]] == [
        "metadata.db",
        "snapshots.db",
        "networks.db",
        "events.db",
    ]
    assert {one.name for one in tmp_path.iterdir()} == others | {"new"}
