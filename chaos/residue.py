"""What a run may leave behind: nothing. Counted before the load and after the last container is gone."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actors.zygote.spares import SIZE
from chaos import processes

if TYPE_CHECKING:
    from chaos.asking import RecordingSession
    from chaos.findings import Findings
    from chaos.scene import Scene

SOUND: Final = "databases are sound"
LEAKS: Final = "nothing is leaked"
CALM_LIMIT: Final = 20.0  # seconds for what is under way to end
EXITS_LIMIT: Final = 4096  # statuses of orphans that the zygote keeps, by design
SPARE: Final = "spare container"  # the name of a process
PASSING: Final = ("/exits/", "/failpoints", "/keeper.sock")
BESIDE: Final = 5  # descriptors of the keeper's that it has for itself: three, its channel and its door


def holdings(scene: Scene, session: RecordingSession) -> dict[str, Any]:
    """Everything that could be left, listed; of descriptors the number."""
    actors = scene.actors(session)
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    state, root = scene.state, scene.root
    descriptors = {name: processes.descriptors(one["pid"]) for name, one in actors.items()}  # asleep: 0
    keeper = processes.keeper(state)  # once there is one, it stays
    if keeper is not None:
        descriptors["zygote"] -= 1  # the channel to it
    return {
        "descriptors": descriptors,
        "kept": [] if keeper is None else ["one"] * (processes.descriptors(keeper.pid) - BESIDE),
        "processes": sorted(one.comm for one in processes.all_of(state) if one != keeper),
        "mounts": sorted(line.split()[4] for line in mounts if str(scene.directory) in line),
        "netns": _names(state / "netns"),
        "interfaces": scene.daemon.interfaces(),
        "rules": _rules(scene.daemon.scope),
        "cgroups": _cgroups(scene),
        "zombies": processes.zombies(one.pid for one in processes.all_of(state)),
        "state": _below(state),
        "logs": _below(root / "logs"),
        "ingests": _names(root / "content" / "ingest"),
        "active snapshots": _active(scene, session),
        "trash": _names(root / "snapshots" / "trash"),
        "containers": [one["id"] for one in _list(session, "metadata", "containers.list", "containers")],
    }


def _cgroups(scene: Scene) -> list[str]:
    """Those of this run's containers: the groups of all daemons are in one place."""
    own = {run.id for run in scene.runs.every()}
    found = Path("/sys/fs/cgroup").glob("*/actord/c/*")
    return sorted(str(path) for path in found if path.name in own)


def _rules(scope: str) -> list[str]:
    """The lines of its table; none, when there is no table."""
    command = ["nft", "-n", "-s", "list", "table", "inet", f"actord_{scope}"]
    said = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    return [line.strip() for line in said.splitlines()]


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def _below(directory: Path) -> list[str]:
    """os.walk does not mind what goes away meanwhile."""
    found = [f"{at}/{name}" for at, inner, files in os.walk(directory) for name in (*inner, *files)]
    return sorted(path for path in found if not any(part in path for part in PASSING))


def _list(session: RecordingSession, actor: str, op: str, key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = session.ask(actor, op, {"namespace": "c"})[key]
    return found


def _active(scene: Scene, session: RecordingSession) -> list[str]:
    """Snapshots that are not layers, and directories that no snapshot has."""
    listed = _list(session, "snapshots", "snapshots.list", "snapshots")
    extra = len(_names(scene.root / "snapshots" / "snapshots")) - len(listed)
    return [one["key"] for one in listed if one["kind"] != "committed"] + ["unlisted"] * max(0, extra)


def leaked(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What is there after and was not before; descriptors may be fewer."""
    found = []
    for name, count in after["descriptors"].items():
        allowed = before["descriptors"].get(name)
        if allowed is None:
            found.append(f"actor {name}")
        elif count > allowed:
            found.append(f"{count - allowed} descriptors of {name} ({allowed} before)")
    for what, listed in after.items():
        if what not in ("descriptors", "processes"):
            more = list((Counter(listed) - Counter(before[what])).elements())
            found += [f"{what}: {one}" for one in more[:5]]
    if len(after["processes"]) > len(before["processes"]):
        found.append(f"processes: {after['processes']} instead of {before['processes']}")
    return found


def calm(scene: Scene, session: RecordingSession) -> dict[str, Any]:
    """The holdings once two looks agree and no transfer lingers, or at the latest after CALM_LIMIT."""
    until = time.monotonic() + CALM_LIMIT
    first = holdings(scene, session)
    while True:
        time.sleep(0.3)
        second = holdings(scene, session)
        lingering = any(name.startswith("puller/") for name in second["descriptors"]) or second["trash"]
        lingering = (
            lingering or second["processes"].count(SPARE) != SIZE
        )  # each is a descriptor of the zygote's
        if (first == second and not lingering and not second["zombies"]) or time.monotonic() > until:
            return second
        first = second


def check_databases(scene: Scene, findings: Findings) -> None:
    """Each of the daemon's databases, page by page."""
    for path in sorted(scene.root.rglob("*.db")):
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
            found = [str(row[0]) for row in database.execute("PRAGMA integrity_check(10)")]
        findings.check(SOUND, found == ["ok"], f"{path.relative_to(scene.root)}: {'; '.join(found)}")


def check(scene: Scene, session: RecordingSession, findings: Findings, before: dict[str, Any]) -> None:
    """Compare until nothing is left, or the time is over."""
    until = time.monotonic() + CALM_LIMIT
    while (found := leaked(before, calm(scene, session))) and time.monotonic() < until:
        time.sleep(0.3)
    findings.check(LEAKS, not found, "; ".join(found))
    kept = len(_names(scene.state / "exits"))
    findings.check(LEAKS, kept <= EXITS_LIMIT, f"the zygote keeps {kept} exits")
    findings.notes["exits kept by the zygote at the end"] = kept
