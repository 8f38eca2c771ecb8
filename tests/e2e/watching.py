"""The most memory that any process of a daemon takes meanwhile, those included that end by then."""

from __future__ import annotations

import contextlib
import re
import threading
from pathlib import Path
from typing import Self

LOOK_SECONDS = 0.01


class MostMemory:
    """From `with` to the end of its block.

    The kernel keeps the mark (VmHWM) and a thread reads it: what the last 10 ms of a process add is missed.

    Attributes:
        bytes: the highest mark of any process below `pid`, itself included.
    """

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self.bytes = max(self.bytes, *map(_high_water, _descendants(self._pid)))


def _descendants(pid: int) -> list[int]:
    found = [pid]
    for one in found:  # grows while it is walked
        with contextlib.suppress(OSError):  # it has ended: even looking for its threads may fail then
            for children in list(Path(f"/proc/{one}/task").glob("*/children")):
                found += map(int, children.read_text().split())
    return found


def _high_water(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it has ended
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)
    return 1024 * int(found[1]) if found else 0
