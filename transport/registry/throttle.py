"""A limit on the bytes per second, shared by the threads of one transfer or by all transfers of a machine."""

import fcntl
import os
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

SHORTEST_WAIT = 0.01  # seconds; less is made up for the next time
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LINE_BYTES = 100


class Account:
    """The moment at which all bytes taken so far are allowed for, on the clock of its user."""

    def __init__(self) -> None:
        self._paid_until = 0.0

    def extend(self, now: float, seconds: float) -> float:
        """Put it off by `seconds`, from `now` on at the earliest; where it is then."""
        self._paid_until = max(self._paid_until, now) + seconds
        return self._paid_until


class SharedAccount:
    """The same, of all processes that name the same file; the clock has to be monotonic.

    Whoever is killed has let go of the file, with the old moment or the new one in it. One of before the last
    boot counts for nothing, nor does a file that makes no sense.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def extend(self, now: float, seconds: float) -> float:
        """See Account. Raises OSError."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            paid_until = max(self._read(file), now) + seconds
            os.pwrite(file, f"{_boot_id()} {paid_until:020.6f}\n".encode(), 0)
        finally:
            os.close(file)
        return paid_until

    @staticmethod
    def _read(file: int) -> float:
        boot, _, moment = os.pread(file, _LINE_BYTES, 0).decode(errors="replace").partition(" ")
        try:
            return float(moment) if boot == _boot_id() else 0.0
        except ValueError:
            return 0.0


@cache
def _boot_id() -> str:
    return _BOOT_ID.read_text().strip()


class Throttle:
    """Makes those who share `account` wait, so that together they take at most `rate` bytes per second.

    0 is no limit.
    """

    def __init__(
        self,
        rate: int,
        account: Account | SharedAccount | None = None,
        *,
        wait: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = rate
        self._account = account or Account()
        self._wait = wait
        self._clock = clock
        self._lock = threading.Lock()

    def take(self, count: int) -> None:
        """Note `count` bytes, and wait until they are allowed for. What `wait` raises passes."""
        if not self._rate:
            return
        with self._lock:
            now = self._clock()
            left = self._account.extend(now, count / self._rate) - now
        if left > SHORTEST_WAIT:
            self._wait(left)
