"""After a hundred containers everything is as it was before the first."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from daemon import wait_until

from actors.zygote.spares import SIZE

if TYPE_CHECKING:
    from daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
CYCLES = 100


def _descriptors(pid: int) -> int:
    """Of one that has just ended: -1, and nothing is calm yet."""
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except FileNotFoundError:
        return -1


def _is_spare(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("spare ")
    except FileNotFoundError:
        return False


def _zombies(daemon: Daemon) -> list[str]:
    parents = {str(pid) for pid in daemon.processes()}
    lines = subprocess.run(
        ["ps", "-eo", "ppid=,stat=,pid="], capture_output=True, text=True, check=True
    ).stdout
    return [line for line in lines.splitlines() if line.split()[0] in parents and "Z" in line.split()[1]]


def _holdings(daemon: Daemon, namespace: str) -> dict[str, Any]:
    """Everything that a container could leave, counted or listed."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    state, cgroups, actors = daemon.state, Path("/sys/fs/cgroup"), daemon.json("actors")
    return {
        "descriptors": {one["name"]: _descriptors(one["pid"]) for one in actors if one["kind"] != "puller"},
        "passing": [one["name"] for one in actors if one["kind"] in ("puller", "container")],
        "processes": len(daemon.processes()),
        "spares": sum(map(_is_spare, daemon.processes())),
        "mounts": sorted(line.split()[4] for line in mounts if str(daemon.directory) in line),
        "netns": sorted(path.name for path in (state / "netns").iterdir()),
        "cgroups": sorted(str(path) for path in cgroups.glob(f"*/actord/{namespace}/*/")),
        "zombies": _zombies(daemon),
        "state": sorted(str(path) for path in state.rglob("*")),
        "logs": sorted(str(path) for path in (daemon.root / "logs").rglob("*")),
        "snapshots": sorted(path.name for path in (daemon.root / "snapshots/snapshots").iterdir()),
        "trash": sorted(path.name for path in (daemon.root / "snapshots/trash").iterdir()),
    }


def test_a_hundred_containers_leave_nothing(own_daemon: Daemon, busybox: str):
    """In a namespace of its own: control groups of all daemons of a machine are in one place."""
    daemon, namespace = own_daemon, f"leaks-{os.urandom(4).hex()}"
    daemon.actr("--namespace", namespace, "pull", busybox)
    for _ in range(3):  # what is made once, such as the namespace's directories
        daemon.actr("--namespace", namespace, "run", "--rm", busybox, "true")
    before = wait_until("a calm start", lambda: _calm(daemon, namespace))
    for _ in range(CYCLES):
        daemon.actr("--namespace", namespace, "run", "--rm", busybox, "true")
    assert wait_until("calm again", lambda: _calm(daemon, namespace)) == before


def _calm(daemon: Daemon, namespace: str) -> dict[str, Any] | None:
    # Raises FileNotFoundError while a container is cleared up behind `run --rm`: not calm, to wait_until.
    first, second = _holdings(daemon, namespace), _holdings(daemon, namespace)
    still = not first["zombies"] and not first["passing"]  # a container's actor may stay for seconds
    still = still and first["spares"] == SIZE and -1 not in first["descriptors"].values()
    return first if still and first == second else None
