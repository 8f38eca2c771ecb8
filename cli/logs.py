"""actr logs: what a container has written, and with -f what it will write."""

from __future__ import annotations

import contextlib
from collections import deque

from cli.following import Output, follow_container, write_through
from cli.log_lines import Objects, PassedError, Span, print_cut
from cli.options import Command, Given, Option, UsageError, is_number
from cli.reader import end_with_reader
from cli.table import by_template, stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.following import Write
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Standard output goes to ours, standard error to ours."""
    count = _tail(given.text("tail", "all"))
    span = _span(given)
    record = session.container(given.arguments[0])
    _refuse_unkept(record, given)
    if given.flag("follow"):
        end_with_reader()
    output = Output(session, record["actor"])
    write: Write = Stamps(write_through) if given.flag("timestamps") else write_through
    if session.json:
        write = Objects()
        if not by_template():  # it is written for lines, and a gap is none
            output.on_cut = print_cut
    with contextlib.suppress(PassedError):
        _copy(session, record["id"], output, write, span, count, follow=given.flag("follow"))
    return 0


def _span(given: Given) -> Span:
    """Raises UsageError."""
    from cli.events import moment

    since, until = (moment(given.text(key)) if given.flag(key) else None for key in ("since", "until"))
    return Span(since or 0, until)


def _refuse_unkept(record: dict[str, Any], given: Given) -> None:
    log = (record.get("options") or {}).get("log") or {}
    driver, name = log.get("driver"), record["name"]
    if driver == "none" and not given.flag("follow"):
        raise UsageError(f"{name} has the log driver none, which keeps nothing: follow it with -f")
    if driver == "journald" and not given.flag("follow"):
        where = f"read it with journalctl CONTAINER_ID_FULL={record['id']}"
        raise UsageError(f"{name} has the log driver journald: {where}, or follow it with -f")
    if driver == "binary" and not given.flag("follow"):
        where = f"only {log.get('program', '')} knows where it is"
        raise UsageError(f"{name} has the log driver binary, which cannot be read back: {where}; or use -f")


def _copy(
    session: Session,
    container: str,
    output: Output,
    write: Write,
    span: Span,
    count: int | None,
    *,
    follow: bool,
) -> None:
    """What is there, or the last of it; then what comes. Raises PassedError behind the span."""
    if count is not None:
        last = span.write = Tail(count)
        try:
            output.copy(span, follow=False)
        finally:
            last.give(write)
    span.write = write
    if follow:
        with span.ending():
            follow_container(session, container, span, output)
    elif count is None:
        output.copy(span, follow=False)


def _tail(text: str) -> int | None:
    if text == "all":
        return None
    if not is_number(text):
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
        Option("-f --follow", "go on with what comes, until it has exited"),
        Option("--since", "only lines that came at or after this time (all)", value="WHEN"),
        Option("--until", "only lines that began to come before this time (all)", value="WHEN"),
        Option("--tail", "only so many of the last lines (all)", value="LINES"),
        Option("-t --timestamps", "print before each line when it came"),
    ),
)
