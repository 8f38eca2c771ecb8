"""What the doctor looks at: facts of this machine and of the daemon, as they are. Judged in judge.py."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.linux import cgroups, privileges
from actors.linux.clock import is_synchronised
from cli.session import RefusedError, Session
from transport.client import NotRunningError
from transport.errors import ProtocolError

DEFAULT_ROOT = "/var/lib/actord"
PROGRAM_LIMIT = 10.0  # seconds for a program to say its version
PROGRAMS = ("runc", "crun", "nft", "criu")
MAX_USER_NAMESPACES = Path("/proc/sys/user/max_user_namespaces")


@dataclass(frozen=True, slots=True)
class Space:
    """The filesystem that a directory is on.

    Attributes:
        kind: its type, as in /proc/self/mountinfo.
        free: bytes that are free, `size` of them in all.
        free_files: the same for inodes; both are 0 where a filesystem does not count them.
    """

    directory: str
    kind: str
    free: int
    size: int
    free_files: int = 0
    files: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that is judged.

    Attributes:
        lacks: of the rights of the host's root; empty for nothing, or where it is no root at all.
        programs: the first line of what each program says of its version; those that are not installed miss.
        controllers: cgroup controllers that are mounted, None where there are no control groups at all.
        user_namespaces: how many there may be; 0 where the kernel has none.
        open_files: how many a process of the daemon may have.
        is_root_mounted: whether `/` is a mount point: a plain chroot's is not, and no runtime can leave it.
        filesystems: what the kernel can mount, modules that are not loaded excepted.
        synchronised: whether something keeps the clock right; None where that cannot be asked.
        daemon: the answer of `introspection.info`; `unreachable` says why there is none.
        actors: the answer of `introspection.actors`.
    """

    uid: int = 0
    lacks: str = ""
    kernel: str = ""
    controllers: frozenset[str] | None = None
    cgroups: str = ""
    is_root_mounted: bool = True
    filesystems: frozenset[str] = frozenset()
    programs: dict[str, str] = field(default_factory=dict)
    user_namespaces: int = 0
    open_files: int = 0
    spaces: tuple[Space, ...] = ()
    now: float = 0.0
    synchronised: bool | None = None
    daemon: dict[str, Any] = field(default_factory=dict)
    unreachable: str = ""
    actors: tuple[dict[str, Any], ...] = ()


def gather(session: Session) -> Facts:
    """Look at everything; what cannot be read is left as unknown."""
    daemon, actors, unreachable = _daemon(session)
    kind, controllers = _control_groups()
    root, state = daemon.get("root", DEFAULT_ROOT), daemon.get("state", Path(session.address).parent)
    return Facts(
        uid=os.geteuid(),
        lacks=privileges.lacking() if os.geteuid() == 0 else "",
        kernel=platform.release(),
        controllers=controllers,
        cgroups=kind,
        is_root_mounted=any(point == "/" for point, _ in _mounts()),
        filesystems=_filesystems(),
        programs={name: said for name in PROGRAMS if (said := _version(name))},
        user_namespaces=_user_namespaces(),
        open_files=_open_files(actors),
        spaces=(_space(Path(root)), _space(Path(state))),
        now=time.time(),
        synchronised=is_synchronised(),
        daemon=daemon,
        unreachable=unreachable,
        actors=actors,
    )


def _daemon(session: Session) -> tuple[dict[str, Any], tuple[dict[str, Any], ...], str]:
    try:
        info = session.ask("supervisor", "introspection.info", {}, limit=5.0)
        actors = session.ask("supervisor", "introspection.actors", {}, limit=5.0)["actors"]
    except (NotRunningError, ProtocolError, RefusedError, OSError) as error:
        return {}, (), str(error)
    return info, tuple(actors), ""


def _open_files(actors: tuple[dict[str, Any], ...]) -> int:
    """The daemon's limit, which its processes inherit; else that of a daemon started from here."""
    zygote = next((one["pid"] for one in actors if one["name"] == "zygote"), 0)
    return resource.prlimit(zygote, resource.RLIMIT_NOFILE)[1]


def _control_groups() -> tuple[str, frozenset[str] | None]:
    try:
        layout = cgroups.detect()
    except OSError:
        return "", None
    return layout.kind.value, frozenset(layout.controllers)


def _filesystems() -> frozenset[str]:
    lines = Path("/proc/filesystems").read_text().splitlines()
    return frozenset(line.split()[-1] for line in lines if line.split())


def _version(program: str) -> str:
    if shutil.which(program) is None:
        return ""
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=PROGRAM_LIMIT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout.splitlines() or ["it is there"])[0][:80] if done.returncode == 0 else ""


def _user_namespaces() -> int:
    try:
        return int(MAX_USER_NAMESPACES.read_text())
    except (OSError, ValueError):
        return 0


def _space(directory: Path) -> Space:
    """Of the nearest directory that exists: the daemon makes the rest."""
    place = next(one for one in (directory, *directory.parents) if one.is_dir())
    found = os.statvfs(place)
    return Space(
        str(directory),
        _filesystem_of(place),
        found.f_bavail * found.f_frsize,
        found.f_blocks * found.f_frsize,
        found.f_favail,
        found.f_files,
    )


def _mounts() -> Iterator[tuple[str, str]]:
    """Where something is mounted, and the type of that."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        yield before.split()[4], after.split()[0]


def _filesystem_of(place: Path) -> str:
    """From the mount with the longest path above it."""
    best, kind = "", ""
    real = str(place.resolve())
    for point, found in _mounts():
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind
