"""Control groups in all three layouts: version 1, version 2, and hybrid.

The OCI runtime makes a container's cgroups; what is here finds them again, reads them, and removes what a
killed runtime left. Every function works below a mount root that it is given, so that a recorded tree serves
as well as /sys/fs/cgroup.
"""

import contextlib
import errno
import functools
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import TypeVar

from actors.linux import mounts, pidfd
from actors.linux.mount_options import MS_NODEV, MS_NOSUID, MS_REC, MS_SLAVE
from actors.linux.threads import CLONE_NEWNS, in_own_thread

MOUNT_ROOT = Path("/sys/fs/cgroup")

_KNOWN = Path("/proc/cgroups")
_NO_LIMIT_FROM = 1 << 62  # version 1 has no word for "no limit", only the largest multiple of a page
_MOST_ROUNDS = 100
_FREEZE_WAIT = 0.5  # seconds that killing waits for all to stand still
_MOST_BYTES = 1 << 20
_NOWHERE = Path("/nonexistent")  # of a controller that is not there

_Result = TypeVar("_Result")


class Kind(Enum):
    """How the host mounts its control groups."""

    V1 = "v1"
    HYBRID = "hybrid"  # version 1 hierarchies, and a version 2 tree beside them
    V2 = "v2"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the hierarchies are.

    `controllers` maps a controller's name to the hierarchy that has it. `beyond_v1` names the controllers of
    a hybrid host that no mounted version 1 hierarchy has.
    """

    kind: Kind
    root: Path
    hierarchies: tuple[Path, ...]
    controllers: dict[str, Path]
    beyond_v1: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a container uses; None where the kernel or the layout does not tell (or there is no limit)."""

    memory_bytes: int | None
    memory_limit_bytes: int | None
    cpu_nanoseconds: int | None
    pids: int | None
    oom_kills: int | None


def detect(root: Path = MOUNT_ROOT, known: Path = _KNOWN) -> Layout:
    """The layout below a mount root; `known` is the kernel's list of controllers.

    Raises:
        FileNotFoundError: there is no control group at all.
    """
    if (root / "cgroup.controllers").exists():
        return Layout(Kind.V2, root, (root,), dict.fromkeys(_read(root / "cgroup.controllers").split(), root))
    hierarchies = tuple(sorted(entry for entry in root.iterdir() if _is_hierarchy(entry)))
    if not hierarchies:
        raise FileNotFoundError(errno.ENOENT, "no control groups are mounted", str(root))
    unified = root / "unified"
    controllers = {name: entry for entry in hierarchies for name in entry.name.split(",") if entry != unified}
    if unified not in hierarchies:
        return Layout(Kind.V1, root, hierarchies, controllers)
    on_unified = _read(unified / "cgroup.controllers").split()
    beyond = sorted({*on_unified, *_unmounted(known)} - controllers.keys())
    return Layout(
        Kind.HYBRID, root, hierarchies, controllers | dict.fromkeys(on_unified, unified), tuple(beyond)
    )


@functools.cache
def mounted() -> Layout:
    """The host's layout, looked at once in each process: it does not change while anything runs.

    Raises:
        FileNotFoundError: there is no control group at all.
    """
    return detect()


def _unmounted(known: Path) -> Iterator[str]:
    """Controllers in a version 1 hierarchy, be it one that is mounted nowhere and lives by its cgroups."""
    for line in _read(known).splitlines():
        name, _, rest = line.partition("\t")
        if not name.startswith("#") and rest.split("\t")[0] != "0":
            yield name


def _is_hierarchy(entry: Path) -> bool:
    # Distributions link cpu and cpuacct to cpu,cpuacct: the same hierarchy twice.
    return not entry.is_symlink() and (entry / "cgroup.procs").exists()


def _read(path: Path) -> str:
    """Raises FileNotFoundError, also of a cgroup that was removed after the file had been opened."""
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        _refuse_removed(error)
        raise


def _write(path: Path, text: str) -> None:
    """As `_read`."""
    try:
        path.write_text(text)
    except OSError as error:
        _refuse_removed(error)
        raise


def _refuse_removed(error: OSError) -> None:
    """What the kernel says of an open file whose cgroup has gone since has a number of its own."""
    if error.errno == errno.ENODEV:
        raise FileNotFoundError(errno.ENOENT, "the control group has been removed") from error


def has_file(layout: Layout, controller: str, name: str) -> bool:
    """Whether cgroups of this controller have a file of that name; the topmost one often has not."""
    if layout.kind is Kind.V2 and controller == "blkio":
        controller = "io"
    top = layout.controllers.get(controller)
    if top is None:
        return False
    if (top / name).exists():
        return True
    with os.scandir(top) as entries:
        return any(
            (Path(entry.path) / name).exists() for entry in entries if entry.is_dir(follow_symlinks=False)
        )


def directories(layout: Layout, cgroups_path: str) -> list[Path]:
    """Where a container's cgroup is, or would be, in each hierarchy.

    Raises:
        ValueError: the path is not absolute, climbs, or names the root, which belongs to everybody.
    """
    parts = PurePosixPath(cgroups_path).parts
    if not cgroups_path.startswith("/") or ".." in parts or len(parts) < 2:
        raise ValueError(f"cgroup path {cgroups_path!r} is not of the form /name or /prefix/name")
    return [hierarchy.joinpath(*parts[1:]) for hierarchy in layout.hierarchies]


def is_a_containers(cgroups_path: str) -> bool:
    """Whether all in it may be killed: of the form /prefix/name. One at the top may be the system's."""
    return len(PurePosixPath(cgroups_path).parts) > 2


def _bottom_up(directory: Path) -> Iterator[Path]:
    """A cgroup and its descendants, children first; what vanishes meanwhile is not missed."""
    for name, _, _ in os.walk(directory, topdown=False):
        yield Path(name)


def processes(layout: Layout, cgroups_path: str) -> set[int]:
    """The pids in a container's cgroups and in the cgroups below them."""
    found: set[int] = set()
    for top in directories(layout, cgroups_path):
        for directory in _bottom_up(top):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                found.update(map(int, _read(directory / "cgroup.procs").split()))
    return found - {0}  # 0 stands for a process of another pid namespace


def kill(layout: Layout, cgroups_path: str) -> None:
    """SIGKILL every process of a container, those that fork meanwhile included. None there is fine.

    Returns once all have been signalled: they may take a moment to be gone.
    """
    if layout.kind is Kind.V2:
        with contextlib.suppress(FileNotFoundError):
            _write(directories(layout, cgroups_path)[0] / "cgroup.kill", "1")
            return
    if not processes(layout, cgroups_path):
        return
    with contextlib.suppress(FileNotFoundError):  # no freezer, or no cgroup: it goes without
        freeze(layout, cgroups_path, frozen=True, wait=_FREEZE_WAIT)
    try:
        _kill_all(layout, cgroups_path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            freeze(layout, cgroups_path, frozen=False, wait=0.0)


def _kill_all(layout: Layout, cgroups_path: str) -> None:
    """Signal each. Frozen ones cannot fork meanwhile, and die when they are let go on."""
    signalled: set[int] = set()
    for _ in range(_MOST_ROUNDS):
        fresh = processes(layout, cgroups_path) - signalled
        if not fresh:
            return
        _signal_each(layout, cgroups_path, fresh, signal.SIGKILL)
        signalled |= fresh


def signal_all(layout: Layout, cgroups_path: str, number: int) -> None:
    """Send a signal to each process of a container; who is forked meanwhile may not get it."""
    _signal_each(layout, cgroups_path, processes(layout, cgroups_path), number)


def _signal_each(layout: Layout, cgroups_path: str, pids: set[int], number: int) -> None:
    held: dict[int, int] = {}
    try:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                held[pid] = pidfd.open_pidfd(pid)
        # Looked up again now that the pids are held: one that was reused in between is not in the cgroup.
        for pid in processes(layout, cgroups_path) & held.keys():
            with contextlib.suppress(ProcessLookupError):
                pidfd.send_signal(held[pid], number)
    finally:
        for descriptor in held.values():
            os.close(descriptor)


def oom_notifier(layout: Layout, cgroups_path: str) -> int:
    """A descriptor that becomes readable when the kernel is out of memory for this cgroup (version 1).

    Raises:
        OSError: there is no memory controller, or no such cgroup.
    """
    directory = layout.controllers.get("memory", _NOWHERE) / cgroups_path.lstrip("/")
    with (directory / "memory.oom_control").open() as control:
        descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            (directory / "cgroup.event_control").write_text(f"{descriptor} {control.fileno()}")
        except OSError:
            os.close(descriptor)
            raise
    return descriptor


def remove(layout: Layout, cgroups_path: str) -> None:
    """Remove a container's cgroups, children first, in every hierarchy. None there is fine.

    Raises:
        OSError: EBUSY while a process is left in one; the other hierarchies are cleaned all the same.
    """
    busy: OSError | None = None
    for top in directories(layout, cgroups_path):
        for directory in _bottom_up(top):
            try:
                directory.rmdir()
            except FileNotFoundError:
                continue
            except OSError as error:
                busy = error
    if busy is not None:
        raise busy


def remove_empty(layout: Layout, cgroups_path: str) -> bool:
    """As `remove`, for cgroups without processes and without cgroups below; False when one is left.

    Nothing is read first, which is most of the work of killing and removing: there are a dozen hierarchies.
    """
    for directory in directories(layout, cgroups_path):
        try:
            directory.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def statistics(layout: Layout, cgroups_path: str) -> Statistics | None:
    """What the container uses now; None when it has no cgroup."""
    if not any(directory.is_dir() for directory in directories(layout, cgroups_path)):
        return None
    relative = cgroups_path.lstrip("/")
    if layout.kind is Kind.V2:
        return _statistics_v2(layout.hierarchies[0] / relative, oom_kills(layout, cgroups_path))
    memory, account, pids = (layout.controllers.get(name, _NOWHERE) for name in ("memory", "cpuacct", "pids"))
    limit = _number(memory / relative / "memory.limit_in_bytes")
    return Statistics(
        memory_bytes=_number(memory / relative / "memory.usage_in_bytes"),
        memory_limit_bytes=limit if limit is not None and limit < _NO_LIMIT_FROM else None,
        cpu_nanoseconds=_number(account / relative / "cpuacct.usage"),
        pids=_number(pids / relative / "pids.current"),
        oom_kills=oom_kills(layout, cgroups_path),
    )


def oom_kills(layout: Layout, cgroups_path: str) -> int | None:
    """How many processes of it the kernel has killed for want of memory; None when it does not tell."""
    relative = cgroups_path.lstrip("/")
    if layout.kind is Kind.V2:
        return _field(layout.hierarchies[0] / relative / "memory.events", "oom_kill")
    memory = layout.controllers.get("memory", _NOWHERE)
    return _field(memory / relative / "memory.oom_control", "oom_kill")


def _statistics_v2(directory: Path, oom_kills: int | None) -> Statistics:
    microseconds = _field(directory / "cpu.stat", "usage_usec")
    return Statistics(
        memory_bytes=_number(directory / "memory.current"),
        memory_limit_bytes=_number(directory / "memory.max"),
        cpu_nanoseconds=microseconds * 1000 if microseconds is not None else None,
        pids=_number(directory / "pids.current"),
        oom_kills=oom_kills,
    )


def _number(path: Path) -> int | None:
    """The number in a file; None when the file is missing or says `max`."""
    try:
        return int(_read(path))
    except (OSError, ValueError):
        return None


def _field(path: Path, name: str) -> int | None:
    """The number after `name` in a file of such lines."""
    with contextlib.suppress(OSError, ValueError):
        for line in _read(path).splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return None


def block_io(layout: Layout, cgroups_path: str) -> tuple[int | None, int | None]:
    """Bytes read from and written to block devices; None where the kernel does not tell."""
    relative = cgroups_path.lstrip("/")
    try:
        if layout.kind is Kind.V2:
            text, reads, writes = _read(layout.root / relative / "io.stat"), "rbytes", "wbytes"
            pairs = [word.split("=") for word in text.split() if "=" in word]
        else:
            name, reads, writes = "blkio.throttle.io_service_bytes_recursive", "Read", "Write"
            text = _read(layout.controllers["blkio"] / relative / name)
            pairs = [line.split()[1:] for line in text.splitlines() if len(line.split()) == 3]
    except (OSError, KeyError):
        return None, None
    totals = {name: sum(int(value) for key, value in pairs if key == name) for name in (reads, writes)}
    return totals[reads], totals[writes]


def needs_private_view(layout: Layout) -> bool:
    """Whether crun refuses this host: a hybrid layout in which version 1 has not got every controller."""
    return bool(layout.beyond_v1)


def in_private_view(layout: Layout, work: Callable[[], _Result]) -> _Result:
    """Run `work` (which spawns crun) where every controller appears as a version 1 hierarchy.

    It runs in a mount namespace of its own, in which the mount root is made anew: the host's hierarchies as
    they are, and the missing controllers as version 1 hierarchies, as the host could have mounted them. What
    is spawned there inherits the view, and is still a child of this process. Nothing of it is visible
    outside, except that a controller leaves the unified tree while its hierarchy holds a cgroup. Every
    command for a container has to see the same view, `delete` included.

    Raises:
        OSError: EBUSY when the unified tree itself uses one of the controllers.
    """

    def prepared() -> _Result:
        # Slave, not private: what the host mounts from now on is still seen here, nothing goes back.
        mounts.mount("", "/", "", MS_REC | MS_SLAVE)
        _rebuild(layout)
        return work()

    return in_own_thread(CLONE_NEWNS, prepared)


def _rebuild(layout: Layout) -> None:
    links = {entry.name: entry.readlink() for entry in layout.root.iterdir() if entry.is_symlink()}
    # Held open, since the new mount root hides them.
    held = {hierarchy.name: os.open(hierarchy, os.O_PATH | os.O_CLOEXEC) for hierarchy in layout.hierarchies}
    try:
        mounts.mount("cgroup", str(layout.root), "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
        for name, descriptor in held.items():
            (layout.root / name).mkdir()
            mounts.bind(f"/proc/thread-self/fd/{descriptor}", str(layout.root / name))
        for name, destination in links.items():
            (layout.root / name).symlink_to(destination)
        for name in layout.beyond_v1:
            (layout.root / name).mkdir()
            mounts.mount("cgroup", str(layout.root / name), "cgroup", 0, name)
    finally:
        for descriptor in held.values():
            os.close(descriptor)


def freeze(layout: Layout, cgroups_path: str, *, frozen: bool, wait: float) -> bool:
    """Stop every process of a container where it is, or let all go on. No cgroup there is fine.

    Returns whether it is so within `wait` seconds; a process in an uninterruptible call may take longer.
    """
    hierarchy = layout.root if layout.kind is Kind.V2 else layout.controllers.get("freezer")
    if hierarchy is None:
        raise FileNotFoundError(errno.ENOENT, "no freezer is mounted", str(layout.root))
    directory = directories(replace(layout, hierarchies=(hierarchy,)), cgroups_path)[0]
    try:
        if layout.kind is Kind.V2:
            _write(directory / "cgroup.freeze", "1" if frozen else "0")
        else:
            _write(directory / "freezer.state", "FROZEN" if frozen else "THAWED")
        return _settles(directory, layout.kind, wait, frozen=frozen)
    except FileNotFoundError:
        return True


def _settles(directory: Path, kind: Kind, wait: float, *, frozen: bool) -> bool:
    until = time.monotonic() + wait
    while True:
        if kind is Kind.V2:
            done = f"frozen {int(frozen)}" in _read(directory / "cgroup.events")
        else:
            done = _read(directory / "freezer.state").strip() == ("FROZEN" if frozen else "THAWED")
        if done or time.monotonic() > until:
            return done
        time.sleep(0.002)
