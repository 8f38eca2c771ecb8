"""Refuses a root file system that would lead an OCI runtime astray.

runc 1.1.5 and crun 1.8.1 follow a symbolic link that stands where they put device nodes, or on the way to a
mount target, and then write to the host. A link as the last part of another target (/etc/resolv.conf is one
in many images) is resolved by both inside the root. The root does not change between this check and the
runtime: nobody runs in it yet.
"""

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from actors.runtime.errors import InvalidSpecError

_ALWAYS = ("dev", "proc", "sys")


def check(rootfs: Path, destinations: Iterable[str]) -> None:
    """Refuse a root in which /dev, /proc, /sys or a parent of a mount destination is a symbolic link.

    What does not exist is fine: the runtime makes it. `destinations` are those of the specification's mounts.

    Raises:
        InvalidSpecError: naming the link, or the destination that climbs or is not absolute.
        OSError: the root itself cannot be opened.
    """
    for pseudo in _ALWAYS:
        _walk(rootfs, [pseudo])
    for destination in destinations:
        parts = [part for part in destination.split("/") if part not in {"", "."}]
        if not destination.startswith("/") or ".." in parts or "\0" in destination:
            raise InvalidSpecError(f"mount destination {destination!r} is not absolute and free of ..")
        _walk(rootfs, parts[:-1])


def _walk(rootfs: Path, parts: list[str]) -> None:
    """Open one component after the other, each of which must be a directory if it is there at all."""
    current = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for place, part in enumerate(parts):
            following = _step(current, part, "/" + "/".join(parts[: place + 1]))
            if following is None:
                return
            os.close(current)
            current = following
    finally:
        os.close(current)


def _step(directory: int, name: str, path: str) -> int | None:
    """The next component, opened; None when it does not exist."""
    try:
        # Of a link that is not followed, O_DIRECTORY says ENOTDIR: it is none.
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = f"cannot be looked at: {error.strerror}"
        if error.errno in {errno.ENOTDIR, errno.ELOOP}:
            reason = "is a link or file: it must be a directory, or a runtime would be led outside"
        raise InvalidSpecError(f"{path} of the root file system {reason}") from error
