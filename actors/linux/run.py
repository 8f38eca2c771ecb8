"""Running a small program to its end, with text for it to read and what it says kept apart."""

import os
import select
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actors.linux.spawn import spawn

_MOST = 16 << 20  # bytes of what a program says that are read


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended: exit code (128 plus the number of a signal), standard output, standard error."""

    code: int
    said: str
    complaint: str


def run(
    argv: Sequence[str], text: str = "", *, env: Mapping[str, str] | None = None, limit: float = 60.0
) -> Ended:
    """Run it; `text` is its standard input. All three are files in memory: neither side has to wait.

    Raises:
        OSError: the program is missing or not executable.
        TimeoutError: it took longer than `limit` seconds, and was killed.
    """
    files = [os.memfd_create(name, os.MFD_CLOEXEC) for name in ("input", "output", "errors")]
    try:
        os.write(files[0], text.encode())
        os.lseek(files[0], 0, os.SEEK_SET)
        pid = spawn(argv, stdin=files[0], stdout=files[1], stderr=files[2], env=env)
        in_time = _wait(pid, limit)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        said, complaint = (_content(one) for one in files[1:])
    finally:
        for one in files:
            os.close(one)
    if not in_time:
        raise TimeoutError(f"{argv[0]} did not end within {limit:g} seconds")
    return Ended(code if code >= 0 else 128 - code, said, complaint)


def _wait(pid: int, limit: float) -> bool:
    """Whether it ended in time; otherwise it gets SIGKILL."""
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if poll.poll(limit * 1000):
            return True
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        return False
    finally:
        os.close(descriptor)


def _content(descriptor: int) -> str:
    size = min(os.fstat(descriptor).st_size, _MOST)
    return os.pread(descriptor, size, 0).decode(errors="replace")
