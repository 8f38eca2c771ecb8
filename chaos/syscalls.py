"""strace, attached to a running process: counts its durable system calls, or lets one of them go wrong."""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from pathlib import Path

DURABLE: Final = (
    "fsync,fdatasync,syncfs,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,"
    "ftruncate,pwrite64,mount,umount2"
)
KILL: Final = "kill"
ATTACH_LIMIT: Final = 5.0  # seconds
_LINE = re.compile(r"^(\d+) +([a-z0-9_]+)\(", re.MULTILINE)


class Traced:
    """From `with` to the end of its block: every thread of a process is traced.

    `at` is a system call and a number: before the call of that number the process gets SIGKILL, or, if
    `effect` is the name of an errno, the call fails with it. strace counts the calls of each thread by
    themselves.
    """

    def __init__(self, pid: int, output: Path, at: tuple[str, int] | None = None, effect: str = KILL) -> None:
        self._output = output
        words = ["strace", "-f", "-p", str(pid), "-o", str(output), "-e", f"trace={at[0] if at else DURABLE}"]
        if at:
            what = "signal=SIGKILL" if effect == KILL else f"error={effect}"
            words += ["-e", f"inject={at[0]}:{what}:when={at[1]}"]
        self._process = subprocess.Popen(words, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)

    def __enter__(self) -> Self:
        if self._process.stderr is not None:
            self._process.stderr.readline()  # it is attached; or the end, when there is no such process
        time.sleep(0.02)  # the other threads
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(ATTACH_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def calls(self) -> dict[str, int]:
        """How often the busiest thread made each call."""
        counts = Counter(_LINE.findall(self._output.read_text(errors="replace")))
        most: dict[str, int] = {}
        for (_, name), number in counts.items():
            most[name] = max(most.get(name, 0), number)
        return most
