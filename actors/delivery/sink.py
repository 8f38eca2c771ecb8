"""What takes output in, and how far it has come: a small file that survives every crash."""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from actors.runtime.output import NAMES, Chunk

LONGEST: Final = 1 << 14  # bytes of a line; a longer one comes in parts, as Docker has it


class NotNowError(Exception):
    """It takes nothing at the moment; the text says why."""


class Sink(Protocol):
    """One of them. Each method may raise NotNowError: it is called again, and nothing is lost or doubled.

    Attributes:
        pause: seconds after which `flush` is called though nothing has come; None for never.
    """

    pause: float | None

    def taken(self) -> dict[int, int]:
        """How much of each stream need not be sent again."""

    def put(self, chunk: Chunk, content: bytes) -> None:
        """Take a piece in; never raises NotNowError."""

    def flush(self) -> None:
        """Bring on what has been taken in."""

    def end(self) -> None:
        """The container has ended: bring on what is left, a line without an end too."""

    def close(self) -> None:
        """Close what is open; never raises NotNowError."""


class Progress:
    """How far it has come, in a file: offsets of the streams, and what else belongs to that moment."""

    def __init__(self, path: Path) -> None:
        """Read it; without one, nothing has been taken."""
        self._path = path
        try:
            found = json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError):  # ValueError: after a power cut
            found = {}
        self.offsets: dict[int, int] = {stream: int(found.get(name, 0)) for stream, name in NAMES.items()}
        self.more: dict[str, Any] = found.get("more", {})

    def save(self) -> None:
        """Write it down. Raises OSError."""
        document = {name: self.offsets[stream] for stream, name in NAMES.items()}
        temporary = self._path.with_suffix(".new")
        temporary.write_text(json.dumps({**document, "more": self.more}))
        temporary.rename(self._path)


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its end, or a part of one; `end` is the offset behind it, `at` when it began to come."""

    stream: int
    end: int
    at: int
    text: bytes

    @property
    def partial(self) -> bool:
        """Whether the next one goes on with it."""
        return not self.text.endswith(b"\n")


class Lines:
    """Cuts pieces into lines, and hands them on together."""

    def __init__(self, send: Callable[[Line], None]) -> None:
        """`send` may raise NotNowError: the line is kept then."""
        self._send = send
        self._open: dict[int, Line] = {}
        self._ready: deque[Line] = deque()
        self.sent: dict[int, int] = {}  # offsets

    def put(self, chunk: Chunk, content: bytes) -> None:
        """Take a piece in, or a note of what is missing."""
        if chunk.cut:
            self.complete()
            mark = f"actord: {chunk.cut} bytes of {NAMES[chunk.stream]} are missing here\n".encode()
            self._ready.append(Line(chunk.stream, chunk.start, chunk.at, mark))
        offset = chunk.start
        for text in _split(content):
            offset += len(text)
            self._add(Line(chunk.stream, offset, chunk.at, text))

    def _add(self, line: Line) -> None:
        begun = self._open.pop(line.stream, None)
        if begun is not None:
            line = Line(line.stream, line.end, begun.at, begun.text + line.text)
        while len(line.text) > LONGEST:
            part, rest = line.text[:LONGEST], line.text[LONGEST:]
            self._ready.append(Line(line.stream, line.end - len(rest), line.at, part))
            line = Line(line.stream, line.end, line.at, rest)
        if line.partial:
            self._open[line.stream] = line
        else:
            self._ready.append(line)

    def flush(self) -> bool:
        """Send what is ready; whether that was anything. Raises NotNowError."""
        any_sent = False
        while self._ready:
            line = self._ready[0]
            self._send(line)
            self._ready.popleft()
            self.sent[line.stream] = line.end
            any_sent = True
        return any_sent

    def complete(self) -> None:
        """What has no end yet is as complete as it will be."""
        self._ready.extend(self._open.values())
        self._open.clear()


def _split(content: bytes) -> list[bytes]:
    """At newlines only."""
    pieces = content.split(b"\n")
    return [piece + b"\n" for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])
