"""Children forked in advance: who wants a container started finds a process that only waits for its name.

A spare has done all that every child does first, has made its own the memory that a start writes to, and
holds nothing of anybody. It ends by itself when its zygote does. One that is taken is replaced when nobody
waits for the processor: when a run has ended, or else after a moment.
"""

import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from actors.linux.footprint import Range
from actors.zygote.control import Control

SIZE = 2
PAUSE = 0.1  # seconds after a start, at most, until there is another one


@dataclass(frozen=True, slots=True)
class Spare:
    """A process without a name, and our end of its control channel."""

    pid: int
    control: Control


class Spares:
    """Those that wait, and those sent away that have not ended yet."""

    def __init__(self, fork: Callable[[Sequence[Range]], Spare]) -> None:
        """`fork` makes one that writes to the given pages first. Raises OSError."""
        self._fork = fork
        self._pages: list[Range] = []
        self._waiting: deque[Spare] = deque()
        self._sent_away: set[int] = set()
        self.due = 0.0  # when there is to be another one; 0 for never
        self.wanted = False

    def take(self, now: float) -> Spare:
        """One that waits, or else a new one. Raises OSError when there cannot be any."""
        if self.wanted:
            self.due = self.due or now + PAUSE
        return self._waiting.popleft() if self._waiting else self._fork(())

    def look(self, now: float) -> None:
        """Fork one if it is time; where the kernel refuses, it is tried again with the next start."""
        if not self.due or now < self.due:
            return
        self.due = 0.0
        with contextlib.suppress(OSError):
            self._waiting.append(self._fork(self._pages))
            self.due = now + PAUSE if len(self._waiting) < SIZE else 0.0

    def idle(self, now: float) -> None:
        """A run has ended, and whoever waited for that has been answered."""
        if self.wanted and len(self._waiting) < SIZE:
            self.due = now

    def begin(self, now: float) -> None:
        """From now on some wait. Said again by each supervisor that was started afresh."""
        self.wanted = True
        if len(self._waiting) < SIZE:
            self.due = self.due or now + PAUSE

    @property
    def curious(self) -> bool:
        """Whether nobody has told yet what a start writes to."""
        return not self._pages

    def learn(self, pages: Iterable[Iterable[int]]) -> None:
        """What a start writes to, from one that has started. Raises ValueError, TypeError."""
        self._pages = self._pages or [(int(first), int(count)) for first, count in pages]

    def ended(self, pid: int) -> bool:
        """Whether it was one of ours that has ended, which is forgotten."""
        known = pid in self._sent_away or any(spare.pid == pid for spare in self._waiting)
        self._sent_away.discard(pid)
        for spare in [spare for spare in self._waiting if spare.pid == pid]:
            self._waiting.remove(spare)
            spare.control.close()
        return known

    def dismiss(self, now: float) -> None:
        """What they have of the zygote is out of date: others take their places."""
        while self._waiting:
            spare = self._waiting.popleft()
            spare.control.close()
            self._sent_away.add(spare.pid)
            self.due = now + PAUSE

    def end(self) -> None:
        """Nobody is wanted any more; returns when the last has ended, which takes no time.

        They are killed: they have nothing to lose, and one that is stopped would not see that it is to end.
        """
        self.dismiss(0.0)
        self.wanted, self.due = False, 0.0
        for pid in self._sent_away:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
