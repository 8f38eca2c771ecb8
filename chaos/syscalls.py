"""strace, attached to a running actor: counts its durable system calls, or kills it at one of them."""

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
ATTACH_LIMIT: Final = 5.0  # seconds
_LINE = re.compile(r"^(\d+) +([a-z0-9_]+)\(", re.MULTILINE)


class Traced:
    """From `with` to the end of its block: every thread of a process is traced.

    With `kill` (a system call and a number) the process gets SIGKILL before the call of that number; strace
    counts the calls of each thread by themselves.
    """

    def __init__(self, pid: int, output: Path, kill: tuple[str, int] | None = None) -> None:
        self._output = output
        more = ["-e", f"inject={kill[0]}:signal=SIGKILL:when={kill[1]}"] if kill else []
        traced = kill[0] if kill else DURABLE
        words = ["strace", "-f", "-p", str(pid), "-o", str(output), "-e", f"trace={traced}", *more]
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
