"""Progress of a pull: bars on a terminal, plain lines in a log, nothing when asked to be quiet.

`Layers` keeps what was heard and decides what to show; `Bars` and `Lines` write it.
"""

from __future__ import annotations

import os
import sys
import time

from cli.table import cut, printable, short, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

REDRAW = 0.1  # seconds
BAR = 30
NARROW_BAR = 10
TELLING = 0.5  # seconds after which a rate says something
DONE = "done"
SETTLED = frozenset({DONE, "waiting", "resolving", "present", "mounted"})  # without a bar
_CURSOR_UP, _CLEAR_BELOW, _CLEAR_LINE = "\x1b[%dA", "\x1b[J", "\x1b[K"


class Layer:
    """Progress of one blob: what is done to it, how far that is, and how fast it goes."""

    __slots__ = ("_since", "_start", "offset", "ref", "source", "status", "total")

    def __init__(self, ref: str) -> None:
        self.ref = ref
        self.status = "waiting"
        self.offset = 0
        self.total = 0
        self.source = ""  # who sends it
        self._since = 0.0  # when this status was first heard of
        self._start = 0  # and how far it was then

    def update(self, part: dict[str, Any], now: float | None = None) -> bool:
        """Take in a part of `transfers.attach`; says whether the status is another one now."""
        before = self.status
        self.status = str(part.get("status", before))
        self.total = int(part.get("total") or self.total)
        self.offset = int(part.get("offset") or 0)
        self.source = str(part.get("source") or self.source)
        if self.status != before:
            self._since, self._start = time.monotonic() if now is None else now, self.offset
        return self.status != before

    def rate(self, now: float) -> float:
        """Bytes per second since the status began; 0 while there is too little to tell."""
        seconds = now - self._since
        return max(0, self.offset - self._start) / seconds if seconds >= TELLING else 0.0

    def speed(self, now: float) -> str:
        """Rate and time left, as far as they can be told: `9.5 MB/s, 12 s left`."""
        rate = self.rate(now)
        if not rate:
            return ""
        left = int((self.total - self.offset) / rate) + 1 if self.total > self.offset else 0
        return f"{size(int(rate))}/s" + (f", {duration(left)} left" if left else "")

    @property
    def origin(self) -> str:
        """`from node h2`, when that is known."""
        return f"from {printable(self.source)}" if self.source else ""

    @property
    def label(self) -> str:
        """Digests short, names as they are."""
        return short(self.ref) if self.is_blob else self.ref

    @property
    def is_blob(self) -> bool:
        """Whether it has a digest; otherwise it is the image's name, which is being resolved."""
        return "/" not in self.ref and ":" in self.ref


class Layers:
    """Everything heard so far, in the order in which it was first heard of."""

    def __init__(self) -> None:
        self.layers: dict[str, Layer] = {}

    def update(self, part: dict[str, Any], now: float | None = None) -> tuple[Layer, bool]:
        """The layer that a part is about, and whether its status changed."""
        ref = str(part.get("ref", ""))
        known = ref in self.layers
        layer = self.layers.setdefault(ref, Layer(ref))
        changed = layer.update(part, now)
        return layer, changed or not known

    def finish(self) -> None:
        """The transfer is done, so all of it is."""
        for layer in self.layers.values():
            if layer.status not in SETTLED or layer.status in ("waiting", "resolving"):
                layer.status, layer.offset = DONE, layer.total

    def lines(self, columns: int, rows: int, now: float | None = None) -> list[str]:
        """What a terminal of that size shows; of too many layers, those that still have work."""
        layers = [layer for layer in self.layers.values() if layer.is_blob] or list(self.layers.values())
        count = len(layers)
        room = max(1, rows - 2)
        if len(layers) > room:
            busy = [layer for layer in layers if layer.status not in SETTLED]
            rest = [layer for layer in layers if layer not in busy]
            shown = (busy + rest)[:room]
            layers = [layer for layer in layers if layer in shown]
        width = max((len(layer.label) for layer in layers), default=0)
        now = time.monotonic() if now is None else now
        lines = [layer_line(layer, min(width, columns // 2), columns, now) for layer in layers]
        hidden = count - len(layers)
        return [*lines, cut(f"and {hidden} more", columns)] if hidden else lines


def layer_line(layer: Layer, width: int, columns: int, now: float = 0.0) -> str:
    """One line: name, status, bar, how much, and how fast where there is room for it."""
    start = f"{cut(printable(layer.label), width):<{width}}  {printable(layer.status):<11}"
    if layer.status in SETTLED or not layer.total:
        amount = size(layer.total) if layer.total else size(layer.offset) if layer.offset else ""
        return cut(f"{start}  {amount}  {layer.origin}".rstrip(), columns)
    amount = f"{size(layer.offset)} / {size(layer.total)}"
    bar = BAR if columns >= len(start) + BAR + len(amount) + 6 else NARROW_BAR
    line = f"{start}  {bar_of(layer.offset, layer.total, bar)}  {amount}"
    for more in (layer.speed(now), layer.origin):
        if more and len(line) + len(more) + 2 <= columns:
            line = f"{line}  {more}"
    return cut(line, columns)


def duration(seconds: int) -> str:
    """`12 s`, `3 min`, `2 h`."""
    if seconds < 100:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 6000 else f"{seconds // 3600} h"


def bar_of(offset: int, total: int, width: int) -> str:
    """`[=====>     ]`, `width` characters between the brackets."""
    filled = width if offset >= total else max(0, offset) * width // total
    head = ">" if filled < width else ""
    return f"[{('=' * filled + head)[:width]:<{width}}]"


class Bars:
    """Redraws in place, at most every `REDRAW` seconds."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._layers = Layers()
        self._drawn = 0
        self._at = 0.0

    def part(self, part: dict[str, Any]) -> None:
        """Take in a part, and draw if it is time."""
        self._layers.update(part)
        if time.monotonic() - self._at >= REDRAW:
            self._draw()

    def close(self, *, done: bool = False) -> None:
        """Draw a last time and leave the cursor below."""
        if done:
            self._layers.finish()
        if self._layers.layers:
            self._draw()

    def warn(self, text: str) -> None:
        """Say what the registry wants said, below the bars."""
        _show(self._out, f"actr: {printable(text)}\n")

    def _draw(self) -> None:
        self._at = time.monotonic()
        columns, rows = _size(self._out)
        lines = self._layers.lines(columns - 1, rows)
        up = _CURSOR_UP % self._drawn if self._drawn else ""
        text = "".join(f"{line}{_CLEAR_LINE}\n" for line in lines)
        _show(self._out, f"{up}\r{text}{_CLEAR_BELOW}")
        self._drawn = len(lines)


class Lines:
    """A line for each new status."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._layers = Layers()

    def part(self, part: dict[str, Any]) -> None:
        """Take in a part; say what changed."""
        layer, changed = self._layers.update(part)
        if changed:
            amount = f" {size(layer.total)}" if layer.total else ""
            origin = f" {layer.origin}" if layer.origin and layer.status != DONE else ""
            _show(self._out, f"{printable(layer.label)}: {printable(layer.status)}{amount}{origin}\n")

    def warn(self, text: str) -> None:
        """Say what the registry wants said."""
        _show(self._out, f"actr: {printable(text)}\n")

    def close(self, *, done: bool = False) -> None:
        """Nothing is left to say."""


class Quiet:
    """Says nothing."""

    def part(self, part: dict[str, Any]) -> None:
        """Ignore it."""

    def warn(self, text: str) -> None:
        """Ignore it."""

    def close(self, *, done: bool = False) -> None:
        """Nothing is left to say."""


def progress(out: TextIO | None = None, *, quiet: bool = False) -> Bars | Lines | Quiet:
    """What suits standard error (or `out`)."""
    out = out or sys.stderr
    if quiet:
        return Quiet()
    return Bars(out) if out.isatty() and os.environ.get("TERM") != "dumb" else Lines(out)


def _show(out: TextIO, text: str) -> None:
    """A transfer does not fail for want of room to say how far it is; it ends when its reader has gone."""
    try:
        out.write(text)
        out.flush()
    except BrokenPipeError:
        raise
    except OSError:
        pass


def _size(out: TextIO) -> tuple[int, int]:
    try:
        found = os.get_terminal_size(out.fileno())
    except (OSError, ValueError):
        return 80, 24
    return found.columns or 80, found.lines or 24
