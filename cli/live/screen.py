"""The terminal while it shows the daemon: drawn as a whole in one write, so that nothing flickers."""

from __future__ import annotations

import os
import select
import signal
import sys
import time

from cli.colour import coloured
from cli.live.view import PARTS, SORTS, View, screen
from cli.session import RefusedError
from cli.table import cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import Any

    from cli.live.reading import Readings

STDIN = 0
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
PAGE = 10  # rows
KEYS = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"k": "up", b"\x1b[B": "down", b"\x1bOB": "down", b"j": "down",
    b"\x1b[5~": "page up", b"\x1b[6~": "page down", b"s": "sort", b"v": "view", b"p": "pause", b"q": "quit",
}  # fmt: skip
STEPS = {"up": -1, "down": 1, "page up": -PAGE, "page down": PAGE}


class Screen:
    """Shows readings until q is typed or the process is told to end."""

    def __init__(self, readings: Readings, every: float) -> None:
        """A reading each `every` seconds."""
        self._readings = readings
        self._every = every
        self._view = View()
        self._trouble = ""

    def show(self) -> None:
        """Take the terminal, and give it back on every way out."""
        import termios
        import tty

        before = termios.tcgetattr(STDIN)
        signal.signal(signal.SIGTERM, _leave)
        signal.signal(signal.SIGHUP, _leave)
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.signal(signal.SIGWINCH, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        try:
            tty.setcbreak(STDIN)
            _write(ENTER)
            self._loop(woken)
        finally:
            signal.set_wakeup_fd(-1)
            _write(LEAVE)
            termios.tcsetattr(STDIN, termios.TCSADRAIN, before)

    def _loop(self, woken: int) -> None:
        due = 0.0
        while True:
            if time.monotonic() >= due and not self._view.paused:
                self._read()
                due = time.monotonic() + self._every
            self._draw()
            left = None if self._view.paused else max(0.0, due - time.monotonic())
            ready, _, _ = select.select([STDIN, woken], [], [], left)
            if woken in ready:
                os.read(woken, 4096)
            if STDIN in ready and not self._typed(os.read(STDIN, 256)):
                return

    def _read(self) -> None:
        """A daemon that is away for a moment is no reason to end: it is what one wants to see."""
        from transport.client import NotRunningError

        try:
            self._readings.take()
            self._trouble = ""
        except (RefusedError, NotRunningError) as error:
            if not self._readings.now:
                raise
            self._trouble = f"not read: {error}"

    def _draw(self) -> None:
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
        lines = screen(self._readings, self._view, columns or 80, rows or 24, self._trouble)
        text = f"{CLEAR_LINE}\r\n".join(
            coloured(cut(line, columns), colour, sys.stdout) if colour else line for line, colour in lines
        )
        _write(f"{HOME}{text}{CLEAR_LINE}{CLEAR_BELOW}")

    def _typed(self, typed: bytes) -> bool:
        """Whether to go on."""
        for key in _keys(typed):
            match key:
                case "quit":
                    return False
                case "sort":
                    self._view.sort = _next(SORTS, self._view.sort)
                case "view":
                    self._view.part = _next(PARTS, self._view.part)
                case "pause":
                    self._view.paused = not self._view.paused
                case _:
                    self._view.top += STEPS[key]
        return True


def _keys(typed: bytes) -> Iterator[str]:
    """What is meant; what nobody knows is passed over."""
    while typed:
        found = next((key for key in KEYS if typed.startswith(key)), typed[:1])
        if found in KEYS:
            yield KEYS[found]
        typed = typed[len(found) :]


def _next(known: tuple[str, ...], one: str) -> str:
    return known[(known.index(one) + 1) % len(known)]


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _leave(_number: int, _frame: FrameType | None) -> Any:
    raise KeyboardInterrupt
