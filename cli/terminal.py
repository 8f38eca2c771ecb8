"""Our own terminal while it is that of a process in a container: raw, and given back on every way out."""

from __future__ import annotations

import os
import signal
import sys

from cli.forwarding import DetachedError
from cli.options import UsageError
from cli.streams import DETACH_KEYS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Any, Self

    from cli.session import Session

LIMIT = 3.0  # seconds for a new size to be passed on
STDIN, STDOUT = 0, 1
CONTROL = "abcdefghijklmnopqrstuvwxyz@[\\]^_"
LEAVING = (signal.SIGHUP, signal.SIGQUIT)


def size() -> tuple[int, int] | None:
    """Rows and columns of the terminal that we have, if any."""
    for number in (STDOUT, STDIN):
        try:
            found = os.get_terminal_size(number)
        except OSError:
            continue
        if found.lines and found.columns:
            return found.lines, found.columns
    return None


class Raw:
    """While it is entered, what is typed comes at once and as it is, and a new size is passed on."""

    def __init__(self, session: Session, actor: str, exec_id: str, *, take: bool) -> None:
        """`take` our own terminal too; who only watches leaves it as it is."""
        self._take = take
        self._session = session
        self._actor = actor
        self._exec_id = exec_id
        self._mode: list[Any] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Take the terminal."""
        import termios
        import tty

        for number in LEAVING:
            self._before[number] = signal.signal(number, _leave)
        self._before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, self._resized)
        if self._take and os.isatty(STDIN):
            self._mode = termios.tcgetattr(STDIN)
            tty.setraw(STDIN, termios.TCSANOW)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back."""
        import termios

        if self._mode is not None:
            termios.tcsetattr(STDIN, termios.TCSANOW, self._mode)
        for number, before in self._before.items():
            signal.signal(number, before)

    def resize(self) -> None:
        """Tell the process's terminal the size of ours."""
        from cli.session import RefusedError
        from transport.client import NotRunningError

        found, other = size(), self._session.another()
        if found is None:
            return
        body = {"rows": found[0], "columns": found[1], "exec_id": self._exec_id}
        try:
            other.ask(self._actor, "tasks.resize", body, limit=LIMIT)
        except (RefusedError, NotRunningError):
            return  # it has ended, or is only just starting with the size that we gave it
        finally:
            other.close()

    def _resized(self, _number: int, _frame: FrameType | None) -> None:
        self.resize()


def _leave(number: int, _frame: FrameType | None) -> None:
    raise DetachedError(number)


def refuse_without_terminal() -> None:
    """Raises UsageError: keys cannot be read from a pipe or file."""
    if not sys.stdin.isatty():
        raise UsageError("standard input is no terminal: leave -t out, or give it one")


def parse_keys(text: str) -> bytes:
    """Keys that detach: `ctrl-X` or a character, with commas between; empty for none. Raises UsageError."""
    return bytes(_key(word) for word in text.split(",") if word)


def _key(word: str) -> int:
    if len(word) == 1 and word.isascii():
        return ord(word)
    letter = word.removeprefix("ctrl-")
    if word.startswith("ctrl-") and len(letter) == 1 and letter.lower() in CONTROL:
        return ord(letter.upper()) & 0x1F
    raise UsageError(f"--detach-keys wants keys such as {DETACH_KEYS} or a,b, not {word!r}")


class Keys:
    """Looks for the keys that detach in what is typed."""

    def __init__(self, wanted: bytes) -> None:
        self._wanted = wanted
        self._held = b""

    def filter(self, typed: bytes) -> tuple[bytes, bool]:
        """What of it to pass on, and whether they were there. A beginning of them is held back."""
        if not self._wanted:
            return typed, False
        text = self._held + typed
        at = text.find(self._wanted)
        if at >= 0:
            self._held = b""
            return text[:at], True
        held = next(n for n in range(len(self._wanted) - 1, -1, -1) if text.endswith(self._wanted[:n]))
        self._held = self._wanted[:held]
        return text[: len(text) - held], False
