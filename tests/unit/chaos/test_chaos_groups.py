"""Two faults may put the same process into a group, one inside the time of the other."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from chaos import groups

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not groups.available("freezer"), reason="this machine has no freezer of cgroup v1"),
]


@pytest.fixture
def sleeper():
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_the_process_is_back_where_it_came_from_whichever_ends_first(sleeper):
    home = groups._path("freezer", sleeper)
    first = groups.Frozen(sleeper)
    second = groups.Frozen(sleeper)
    first.end()
    second.end()
    assert groups._path("freezer", sleeper) == home
    assert not list(Path("/sys/fs/cgroup/freezer").glob(f"chaos-{os.getpid()}-*"))
