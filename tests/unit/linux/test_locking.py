"""A lock is waited for, and taken from who does not let go of it in time."""

from __future__ import annotations

import fcntl
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from actors.linux import locking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has inherited the lock from one that is gone, as a runtime has."""
    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with subprocess.Popen(["sleep", "600"], pass_fds=[file.fileno()]) as process:
            file.close()
            yield process
            process.kill()


def test_who_does_not_let_go_in_time_is_killed(tmp_path: Path, holder: subprocess.Popen[bytes]):
    with (tmp_path / "lock").open("r+") as file, (tmp_path / "other").open("w") as other:
        bystander = subprocess.Popen(["sleep", "600"], pass_fds=[other.fileno()])
        killed = locking.take(file.fileno(), 0.1)
        assert [one.pid for one in killed] == [holder.pid]
        assert holder.wait(10) == -9
        assert bystander.poll() is None, "it has another file open"
        bystander.kill()
        bystander.wait()


def test_who_lets_go_in_time_is_not(tmp_path: Path, holder: subprocess.Popen[bytes]):
    threading.Timer(0.05, holder.terminate).start()
    with (tmp_path / "lock").open("r+") as file:
        assert locking.take(file.fileno(), 60.0) == []
    assert holder.wait(10) == -15
