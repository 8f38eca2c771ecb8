"""Lines of a log: those of a span of time, and lines as JSON."""

from __future__ import annotations

import contextlib
import signal
import time

from cli.following import NAMES, write_through
from cli.table import SECOND, object_lines, stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.following import Write

STDOUT = 1
_SOON = 0.001  # seconds; a timer of none is no timer


class PassedError(Exception):
    """The end of the span has come; what is behind it is not wanted."""


class Span:
    """Lets through the lines whose first bytes came within it.

    Attributes:
        write: where they go.
    """

    def __init__(self, since: int, until: int | None) -> None:
        """In nanoseconds since the epoch; `until` None for no end."""
        self.write: Write = write_through
        self._since, self._until = since, until
        self._begun: dict[int, bool] = {}  # streams within a line, and whether it is let through

    def __call__(self, stream: int, at: int, content: bytes) -> None:
        """Take a piece in. Raises PassedError behind the end."""
        end = content.find(b"\n") + 1 or len(content) if stream in self._begun else 0
        if end and self._begun[stream]:
            self.write(stream, at, content[:end])
        wanted = self._since <= at and not self._is_behind(at)
        if end < len(content):
            self._begun[stream] = wanted
            if wanted:
                self.write(stream, at, content[end:])
        if content.endswith(b"\n"):
            self._begun.pop(stream, None)
        if self._is_behind(at) and not any(self._begun.values()):
            raise PassedError

    def _is_behind(self, at: int) -> bool:
        return self._until is not None and at > self._until

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """While entered, PassedError is raised at its end, though nothing comes."""
        if self._until is None:
            yield
            return

        def passed(_number: int, _frame: object) -> None:
            raise PassedError

        before = signal.signal(signal.SIGALRM, passed)
        signal.setitimer(signal.ITIMER_REAL, max(_SOON, (self._until - time.time_ns()) / SECOND))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


class Objects:
    """Prints each run of bytes as JSON or by a template: a line, or as much as came of one."""

    def __call__(self, stream: int, at: int, content: bytes) -> None:
        """Print a piece; bytes that are no UTF-8 are shown as escapes."""
        for line in content.split(b"\n")[:-1]:
            self._line(stream, at, line + b"\n")
        rest = content[content.rfind(b"\n") + 1 :]
        if rest:
            self._line(stream, at, rest)

    @staticmethod
    def _line(stream: int, at: int, line: bytes) -> None:
        text = line.decode(errors="backslashreplace")
        _print({"stream": NAMES[stream], "at": stamp(at), "text": text})


def print_cut(stream: int, count: int) -> None:
    """As JSON: how many bytes are missing here."""
    _print({"stream": NAMES[stream], "cut": count})


def _print(item: dict[str, object]) -> None:
    for line in object_lines(item):
        write_through(STDOUT, 0, f"{line}\n".encode())
