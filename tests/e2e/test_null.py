"""The host's /dev/null, which every program of the host needs: no container has it to change."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon import Daemon

pytestmark = pytest.mark.root
NULL = Path(os.devnull)
CLOSE = "chmod 600 /proc/self/fd/0; cat; echo x > /proc/self/fd/0; echo $?"


def _as_it_is() -> tuple[int, int, int]:
    status = NULL.stat()
    return status.st_mode, status.st_uid, status.st_gid


@pytest.fixture
def before() -> Iterator[tuple[int, int, int]]:
    """How it was, and is again whatever becomes of the test."""
    found = _as_it_is()
    yield found
    os.chown(NULL, *found[1:])
    NULL.chmod(found[0] & 0o7777)


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_nobody_can_give_it_away_or_close_it(
    daemon: Daemon, busybox: str, runtime: str, before: tuple[int, int, int]
):
    """Standard input of an exec without -i is the host's node; crun gives that to the process's user."""
    name = daemon.actr(
        "run", "-d", "--runtime", runtime, "-u", "77:88", busybox, "sleep", "600"
    ).stdout.strip()
    for user in ("77:88", "0"):
        assert daemon.actr("exec", "-u", user, name, "sh", "-c", CLOSE).stdout == "0\n"
        daemon.actr("run", "--rm", "--runtime", runtime, "-u", user, busybox, "sh", "-c", CLOSE)
    assert _as_it_is() == before
    daemon.actr("rm", "-f", name)
