"""actr logs: what a container has written, and with -f what it will write."""

from __future__ import annotations

from collections import deque

from cli.following import Output, follow_container, write_through
from cli.options import Command, Given, Option, UsageError
from cli.table import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.following import Write
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Standard output goes to ours, standard error to ours."""
    count = _tail(given.text("tail", "all"))
    record = session.container(given.arguments[0])
    output = Output(session, record["actor"])
    write = Stamps(write_through) if given.flag("timestamps") else write_through
    follow = given.flag("follow")
    if count is not None:
        last = Tail(count)
        output.copy(last, follow=False)
        last.give(write)
        if not follow:
            return 0
    if follow:
        follow_container(session, record["id"], write, output)
    else:
        output.copy(write, follow=False)
    return 0


def _tail(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal():
        raise UsageError(f"--tail wants a number of lines or all, not {text!r}")
    return int(text)


class Tail:
    """Keeps the last lines of what is written to it, of both streams together."""

    def __init__(self, count: int) -> None:
        self._lines: deque[tuple[int, int, bytes]] = deque(maxlen=count)
        self._open: dict[int, tuple[int, int, bytes]] = {}

    def __call__(self, stream: int, at: int, content: bytes) -> None:
        """Take a piece in."""
        for line in content.splitlines(keepends=True):
            self._add(stream, at, line)

    def _add(self, stream: int, at: int, line: bytes) -> None:
        if stream in self._open:
            _, at, begun = self._open.pop(stream)
            line = begun + line
        entry = (stream, at, line)
        if line.endswith(b"\n"):
            self._lines.append(entry)
        else:
            self._open[stream] = entry

    def give(self, write: Write) -> None:
        """Write the last lines; a line that has no end yet counts as one."""
        for entry in self._open.values():
            self._lines.append(entry)
        for stream, at, line in self._lines:
            write(stream, at, line)


class Stamps:
    """Puts before each line when its first bytes came."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._within: dict[int, bool] = {}

    def __call__(self, stream: int, at: int, content: bytes) -> None:
        """Write a piece."""
        prefix = stamp(at).encode() + b" "
        out = bytearray()
        for line in content.splitlines(keepends=True):
            out += line if self._within.get(stream) else prefix + line
            self._within[stream] = not line.endswith(b"\n")
        self._write(stream, at, bytes(out))


COMMAND = Command(
    "logs",
    "Print what a container has written",
    run,
    arguments=("CONTAINER",),
    options=(
        Option("-f --follow", "go on until it has exited"),
        Option("--tail", "only the last lines", value="LINES"),
        Option("-t --timestamps", "when each line came, before it"),
    ),
)
