"""The daemon's two directories: made, guarded by locks, described by the connection file."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from actors.linux import cgroups, descriptors, privileges
from actors.settings import Settings

PROTOCOL = 1
LOCK = "actord.lock"


class PlaceError(Exception):
    """The directories cannot be used; the text says why and what to do."""


def take(settings: Settings) -> list[int]:
    """Make root (0700) and state (0711) and lock both. Returns the lock descriptors, to be kept open.

    The locks go with the process, however it ends. Children close their copies, so that a container actor
    that lives on does not keep a new daemon out.

    Raises:
        PlaceError: nothing could work here, a directory cannot be made, or another daemon holds one of them.
    """
    _refuse_where_nothing_works()
    locks: list[int] = []
    try:
        for directory, mode in ((settings.root, 0o700), (settings.state, 0o711)):
            locks.append(_lock(directory, mode))
        for directory in (settings.state / "containers", settings.state / "runtime"):
            with _usable(directory):
                directory.mkdir(mode=0o700, exist_ok=True)
    except PlaceError:
        descriptors.close_all(locks)
        raise
    return locks


def _refuse_where_nothing_works() -> None:
    """What is only missing for some things (a runtime, nft), is said by those. Raises PlaceError."""
    if os.geteuid() != 0:
        raise PlaceError("it makes mounts, namespaces and cgroups, and so must run as root; try sudo")
    if lacks := privileges.lacking():
        text = (
            "that may not make mounts and networks: start it as the host's root, in a container --privileged"
        )
        raise PlaceError(f"{lacks}, and {text}")
    try:
        cgroups.mounted()  # looked at once, for all that are forked
    except OSError as error:
        text = "no control groups are mounted, and no runtime starts anything without"
        raise PlaceError(f"{text}: mount -t cgroup2 cgroup2 {cgroups.MOUNT_ROOT}") from error


@contextlib.contextmanager
def _usable(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PlaceError(f"cannot use directory {directory}: {error.strerror}") from error


def _lock(directory: Path, mode: int) -> int:
    with _usable(directory):
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(mode)
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(lock, 20).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        text = f"{directory} is in use by another actord (pid {holder}); stop it or choose other directories"
        raise PlaceError(text) from error
    with contextlib.suppress(OSError):  # a full disk: only for whoever is refused, who then names nobody
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def write_connection_file(settings: Settings, instance: str) -> None:
    """`connection.json` in the state directory, 0600: how a client in any language finds the daemon."""
    description = {
        "protocol": PROTOCOL,
        "endpoints": [f"ipc://{settings.router_socket}", *([settings.listen] if settings.listen else [])],
        "node": settings.node,
        "instance": instance,
        "pid": os.getpid(),
    }
    path = settings.state / "connection.json"
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(description, indent=2) + "\n")
    temporary.rename(path)
