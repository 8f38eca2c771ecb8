"""Control groups in all three layouts: version 1, version 2, and hybrid.

The OCI runtime makes a container's cgroups; what is here finds them again, stops or signals what runs in
them, and removes what a killed runtime left. Every function works below a mount root that it is given, so
that a recorded tree serves as well as /sys/fs/cgroup.
"""

import contextlib
import errno
import functools
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path, PurePosixPath

from actors.linux import pidfd

MOUNT_ROOT = Path("/sys/fs/cgroup")

_KNOWN = Path("/proc/cgroups")
_MOST_ROUNDS = 100
_FREEZE_WAIT = 0.5  # seconds that killing waits for all to stand still
_MOST_BYTES = 1 << 20


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


def detect(root: Path = MOUNT_ROOT, known: Path = _KNOWN) -> Layout:
    """The layout below a mount root; `known` is the kernel's list of controllers.

    Raises:
        FileNotFoundError: there is no control group at all.
    """
    if (root / "cgroup.controllers").exists():
        return Layout(Kind.V2, root, (root,), dict.fromkeys(read(root / "cgroup.controllers").split(), root))
    hierarchies = tuple(sorted(entry for entry in root.iterdir() if _is_hierarchy(entry)))
    if not hierarchies:
        raise FileNotFoundError(errno.ENOENT, "no control groups are mounted", str(root))
    unified = root / "unified"
    controllers = {name: entry for entry in hierarchies for name in entry.name.split(",") if entry != unified}
    if unified not in hierarchies:
        return Layout(Kind.V1, root, hierarchies, controllers)
    on_unified = read(unified / "cgroup.controllers").split()
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
    for line in read(known).splitlines():
        name, _, rest = line.partition("\t")
        if not name.startswith("#") and rest.split("\t")[0] != "0":
            yield name


def _is_hierarchy(entry: Path) -> bool:
    # Distributions link cpu and cpuacct to cpu,cpuacct: the same hierarchy twice.
    return not entry.is_symlink() and (entry / "cgroup.procs").exists()


def read(path: Path) -> str:
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
                found.update(map(int, read(directory / "cgroup.procs").split()))
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
            done = f"frozen {int(frozen)}" in read(directory / "cgroup.events")
        else:
            done = read(directory / "freezer.state").strip() == ("FROZEN" if frozen else "THAWED")
        if done or time.monotonic() > until:
            return done
        time.sleep(0.002)
