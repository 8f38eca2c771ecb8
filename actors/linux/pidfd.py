"""Processes named so that a reused pid can never be mistaken for the one that was meant.

Within one process's life a pidfd is that name. Across a restart of actord a pidfd is gone, and the pair of
pid and start time takes its place: the kernel does not hand out the same pid twice within one clock tick.
"""

import errno
import fcntl
import os
import re
import select
import signal
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

# linux/pidfd.h: _IOWR(0xFF, 11, struct pidfd_info), the structure being 72 bytes long in its second version.
_PIDFD_INFO = struct.Struct("=QQIII8IiII")
_PIDFD_GET_INFO = (3 << 30) | (_PIDFD_INFO.size << 16) | (0xFF << 8) | 11
_PIDFD_INFO_EXIT = 1 << 3
_EXIT_CODE_FIELD = 13

# proc_pid_stat(5), counted from the field after the command name, which is field 3.
_STATE = 0
_PARENT = 1
_THREADS = 17
_START_TIME = 19


def open_pidfd(pid: int) -> int:
    """A descriptor (close-on-exec) of the process or, while it is a zombie, of what is left of it.

    Raises:
        ProcessLookupError: there is no such process, or it has been reaped.
    """
    return os.pidfd_open(pid)


def send_signal(pidfd: int, number: int) -> None:
    """Signal the process behind the descriptor.

    Raises:
        ProcessLookupError: it has been reaped.
    """
    signal.pidfd_send_signal(pidfd, number)


def has_exited(pidfd: int) -> bool:
    """Whether the process is dead, reaped or not. Never blocks."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def exit_status(pidfd: int) -> int | None:
    """The wait status of a process that somebody else has reaped, decoded by `process.exit_code`.

    Linux 6.15 and later keep it for as long as a pidfd opened before the reaping stays open. None: the
    process has not been reaped yet, or the kernel does not tell.
    """
    if not tells_exits():
        return None
    request = _PIDFD_INFO.pack(_PIDFD_INFO_EXIT, *([0] * 15))
    try:
        answer = _PIDFD_INFO.unpack(fcntl.ioctl(pidfd, _PIDFD_GET_INFO, request))
    except OSError as error:
        if error.errno in {errno.ENOTTY, errno.EINVAL, errno.ESRCH, errno.EREMOTE}:
            return None
        raise
    return int(answer[_EXIT_CODE_FIELD]) if answer[0] & _PIDFD_INFO_EXIT else None


def tells_exits() -> bool:
    """Whether `exit_status` can tell on this kernel."""
    major, minor = re.match(r"(\d+)\.(\d+)", os.uname().release + ".0.0").groups()  # type: ignore[union-attr]
    return (int(major), int(minor)) >= (6, 15)


def _stat_fields(pid: int) -> list[bytes]:
    # The command name may hold spaces and parentheses; the last closing one ends it.
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(errno.ESRCH, f"no process {pid}") from None


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot (field 22 of /proc/PID/stat).

    Raises:
        ProcessLookupError: there is no such process.
    """
    return int(_stat_fields(pid)[_START_TIME])


def parent(pid: int) -> int:
    """The pid of the parent: 0 when it lives outside this pid namespace.

    Raises:
        ProcessLookupError: there is no such process.
    """
    return int(_stat_fields(pid)[_PARENT])


@dataclass(frozen=True, slots=True)
class Process:
    """One process for good: what is journalled of it, and found again after a restart of actord."""

    pid: int
    start_time: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """The process that has this pid now.

        Raises:
            ProcessLookupError: there is none.
        """
        return cls(pid, start_time(pid))

    def age(self) -> float:
        """Seconds since it was started, by a clock that nobody sets."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.start_time / os.sysconf("SC_CLK_TCK")

    def exists(self) -> bool:
        """Whether it is still there, be it as a zombie."""
        try:
            return start_time(self.pid) == self.start_time
        except ProcessLookupError:
            return False

    def is_running(self) -> bool:
        """Whether it is there and not a zombie."""
        try:
            fields = _stat_fields(self.pid)
        except ProcessLookupError:
            return False
        return int(fields[_START_TIME]) == self.start_time and fields[_STATE] not in {b"Z", b"X"}

    def has_ended(self) -> bool:
        """Whether all of its threads have, reaped or not: the first may be a zombie while others run."""
        try:
            fields = _stat_fields(self.pid)
        except ProcessLookupError:
            return True
        if int(fields[_START_TIME]) != self.start_time:
            return True
        return fields[_STATE] in {b"Z", b"X"} and int(fields[_THREADS]) <= 1

    def is_within(self) -> bool:
        """Whether it is there and in its namespaces: on its way out it leaves them before it is dead."""
        try:
            Path(f"/proc/{self.pid}/ns/ipc").readlink()  # a process on its way out has none
        except (FileNotFoundError, ProcessLookupError):
            return False
        return self.exists()

    def open(self) -> int:
        """A pidfd of exactly this process.

        Raises:
            ProcessLookupError: it is gone, even when its pid is in use again.
        """
        pidfd = open_pidfd(self.pid)
        # Only now is the pid held: what the start time says holds for what was opened.
        if self.exists():
            return pidfd
        os.close(pidfd)
        raise ProcessLookupError(
            errno.ESRCH, f"process {self.pid} is not the one that started at {self.start_time}"
        )
