"""The daemon's two directories: made, guarded by locks, described by the connection file."""

import contextlib
import fcntl
import json
import os
from pathlib import Path

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
        PlaceError: a directory cannot be made, or another daemon holds one of them.
    """
    if os.geteuid() != 0:
        raise PlaceError("it makes mounts, namespaces and cgroups, and so must run as root; try sudo")
    locks = [_lock(settings.root, 0o700)]
    try:
        locks.append(_lock(settings.state, 0o711))
    except PlaceError:
        os.close(locks[0])
        raise
    for directory in (settings.state / "containers", settings.state / "runtime"):
        directory.mkdir(mode=0o700, exist_ok=True)
    return locks


def _lock(directory: Path, mode: int) -> int:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(mode)
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise PlaceError(f"cannot use directory {directory}: {error.strerror}") from error
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
