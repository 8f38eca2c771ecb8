"""A person at a terminal: bin/actr driven by pexpect, what it shows kept as a screen by pyte."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pexpect
import pyte
from daemon import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon import Daemon

ROWS, COLUMNS = 24, 80
PATIENCE = 30.0  # seconds


class Terminal:
    """One command of actr in a terminal of its own."""

    def __init__(self, daemon: Daemon, *words: str, rows: int = ROWS, columns: int = COLUMNS) -> None:
        env = {**os.environ, "ACTORD_ADDRESS": str(daemon.state / "actord.sock"), "TERM": "xterm"}
        env.pop("COLUMNS", None)  # it says more than the terminal does, and whoever runs us may have set it
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.child = pexpect.spawn(
            str(CHECKOUT / "bin/actr"), list(words), env=env, dimensions=(rows, columns), timeout=PATIENCE
        )
        self.child.delaybeforesend = None

    def type(self, text: str) -> None:
        self.child.send(text)

    def resize(self, rows: int, columns: int) -> None:
        self.child.setwinsize(rows, columns)
        self.screen.resize(rows, columns)

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def until(self, what: str, shown: Callable[[Terminal], bool]) -> None:
        """Read until the screen is as it should be."""
        end = time.monotonic() + PATIENCE
        while not shown(self):
            assert time.monotonic() < end, f"never seen: {what}\n{self.text}"
            try:
                self._stream.feed(self.child.read_nonblocking(65536, 0.1))
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                assert shown(self), f"ended before: {what}\n{self.text}"

    def until_text(self, text: str) -> None:
        self.until(text, lambda now: text in now.text)

    def ended(self) -> int:
        """The exit code, once it has ended."""
        end = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < end, f"does not end\n{self.text}"
            try:
                self._stream.feed(self.child.read_nonblocking(65536, 0.1))
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                break
        self.child.close()
        return self.child.exitstatus if self.child.exitstatus is not None else -self.child.signalstatus

    def close(self) -> None:
        self.child.close(force=True)
