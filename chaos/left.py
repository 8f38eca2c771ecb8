"""What an experiment with hosts leaves when it is killed, and how the next one clears it.

A note in /run/actord-hosts says which namespaces and which directory are an experiment's, before there are
any. The experiment holds a lock on it: a note without a holder is of one that is dead. Every process in its
namespaces is its own, and so is what descends from those: nothing else is ever ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from chaos.wires import run

if TYPE_CHECKING:
    from collections.abc import Iterable

NOTES = Path("/run/actord-hosts")
NAMESPACES = Path("/run/netns")
END_SECONDS = 20.0


@dataclass
class Note:
    """One experiment's, held as long as it lives."""

    path: Path
    file: IO[str]

    def settle(self) -> None:
        """Nothing is left that somebody would have to clear; twice is fine."""
        self.path.unlink(missing_ok=True)
        self.file.close()


def note(own: str, directory: Path, *, temporary: bool) -> Note:
    """Clear what dead ones have left, then say what is ours: namespaces that begin with `own`."""
    NOTES.mkdir(mode=0o700, exist_ok=True)
    clear()
    path, fresh = NOTES / f"{own}.json", NOTES / f"{own}.new"
    file = fresh.open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write(json.dumps({"own": own, "directory": str(directory), "temporary": temporary}))
    file.flush()
    fresh.rename(path)  # visible with its content and its lock, or not at all
    return Note(path, file)


def clear() -> list[str]:
    """Clear what experiments have left whose process is gone. Gives their names."""
    cleared = []
    for path in sorted(NOTES.glob("*.json")):
        with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = json.loads(file.read())
            _clear(found["own"], Path(found["directory"]), temporary=found["temporary"])
            cleared.append(found["own"])
            path.unlink(missing_ok=True)
    return cleared


def _clear(own: str, directory: Path, *, temporary: bool) -> None:
    namespaces = [path.name for path in NAMESPACES.glob(f"{own}*")]
    for name in namespaces:
        host = directory / name.removeprefix(own)
        signal_all(processes(name, host), signal.SIGCONT)
        if (host / "actord.toml").exists():
            with contextlib.suppress(Exception):  # what cannot be ended in order is ended
                _end_in_order(name, host)
        end(processes(name, host))
        end_all(host)
    for name in namespaces:
        run("ip", "netns", "del", name, check=False)
    if temporary:
        remove(directory)


def _end_in_order(namespace: str, directory: Path) -> None:
    """Have a daemon remove its containers; one that is dead is started for that."""
    from chaos.hosts import Host  # noqa: PLC0415  # which notes what it leaves here
    from chaos.wires import Machine  # noqa: PLC0415

    settings = (directory / "actord.toml").read_text()
    shown = run("ip", "-n", namespace, "-4", "-br", "address", "show", "dev", "eth0")
    address = shown.split()[2].partition("/")[0]
    host = Host(Machine(directory.name, namespace, address), directory, settings)
    if not host.answers():
        end(daemons(directory))
        host.start()
    for one in host.ask("containers.list", "metadata")["containers"]:
        host.ask("containers.remove", one["actor"], force=True)
    if host.process is None:
        signal_all(daemons(directory)[:1], signal.SIGTERM)
        _wait_until_gone(daemons(directory))
    host.stop()


def processes(namespace: str, directory: Path) -> list[int]:
    """Those in a network namespace, and of the daemon whose directory it is."""
    inside = [int(word) for word in run("ip", "netns", "pids", namespace, check=False).split()]
    return [*inside, *(pid for pid in daemons(directory) if pid not in inside)]


def daemons(directory: Path) -> list[int]:
    """The processes of a daemon, the zygote first: they name its directory as their argument."""
    mark = f"\0{directory}/root\0".encode()
    pids = sorted(int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
    return [pid for pid in pids if _is_actor(pid, mark)]


def end_all(directory: Path) -> None:
    """End what is left of a daemon that has ended: actors that live on, and containers nobody removed."""
    end([*daemons(directory), *_contained(directory)])


def _contained(directory: Path) -> list[int]:
    """Processes whose root directory is a snapshot below a daemon's."""
    mark, found = f"={directory}/root/", []
    for path in Path("/proc").glob("[0-9]*/mountinfo"):
        with contextlib.suppress(OSError):
            roots = [line for line in path.read_text().splitlines() if line.split()[4] == "/"]
            if any(mark in line for line in roots):
                found.append(int(path.parent.name))
    return found


def actors_below(pids: Iterable[int]) -> list[int]:
    """These, and what descends from them as long as it is a process of a daemon."""
    found = list(pids)
    for pid in found:  # grows while it is walked
        found += [child for child in children(pid) if child not in found and _is_actor(child)]
    return found


def children(pid: int) -> list[int]:
    """Of a process, as far as they can be seen."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in path.read_text().split()]
    return found


def end(pids: Iterable[int]) -> None:
    """Kill these and all that descends from them, and wait until they are gone."""
    found = list(pids)
    for pid in found:  # grows while it is walked
        found += [child for child in children(pid) if child not in found]
    signal_all(found, signal.SIGKILL)
    _wait_until_gone(found)


def _wait_until_gone(pids: Iterable[int]) -> None:
    until, left = time.monotonic() + END_SECONDS, list(pids)
    while left and time.monotonic() < until:
        time.sleep(0.02)
        left = [pid for pid in left if Path(f"/proc/{pid}").exists()]


def signal_all(pids: Iterable[int], number: int) -> None:
    """Send a signal to those that are still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _is_actor(pid: int, mark: bytes = b"") -> bool:
    """By its command line, which it has from the zygote."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"actors.zygote.main" in line and mark in line


def remove(directory: Path) -> None:
    """Unmount what is mounted below a directory, and take that away."""
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for path in sorted((one for one in mounted if one.startswith(f"{directory}/")), reverse=True):
        run("umount", "-l", path, check=False)
    shutil.rmtree(directory, ignore_errors=True)
