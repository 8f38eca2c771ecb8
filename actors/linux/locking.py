"""Waiting for a lock (flock(2)), but not for ever."""

import contextlib
import fcntl
import os
import signal
import time
from pathlib import Path
from typing import Final

from actors.linux.pidfd import Process, send_signal

PAUSE: Final = 0.01  # seconds between two looks


def take(descriptor: int, patience: float) -> list[Process]:
    """Lock a file for us alone; who has it for `patience` more seconds is killed. Returns who that was.

    Raises:
        OSError: it is not a descriptor that can be locked.
    """
    until = time.monotonic() + patience
    while time.monotonic() < until:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return []
        time.sleep(PAUSE)
    killed = [one for one in _openers(descriptor) if _kill(one)]
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return killed


def _openers(descriptor: int) -> list[Process]:
    """Every other process that has this file open."""
    meant, found = os.fstat(descriptor), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):  # it ends meanwhile, or is the kernel's
                process = Process.of(int(entry.name))
                if any(_is_same(path, meant) for path in (entry / "fd").iterdir()):
                    found.append(process)
    return found


def _is_same(path: Path, meant: os.stat_result) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (meant.st_dev, meant.st_ino)


def _kill(target: Process) -> bool:
    try:
        descriptor = target.open()
    except ProcessLookupError:
        return False
    try:
        send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True
