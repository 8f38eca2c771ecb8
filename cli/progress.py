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
DONE = "done"
_CURSOR_UP, _CLEAR_BELOW, _CLEAR_LINE = "\x1b[%dA", "\x1b[J", "\x1b[K"


class Layer:
    """Progress of one blob: what is done to it, and how far that is."""

    __slots__ = ("offset", "ref", "status", "total")

    def __init__(self, ref: str) -> None:
        self.ref = ref
        self.status = "waiting"
        self.offset = 0
        self.total = 0

    def update(self, part: dict[str, Any]) -> bool:
        """Take in a part of `transfers.attach`; says whether the status is another one now."""
        before = self.status
        self.status = str(part.get("status", before))
        self.total = int(part.get("total") or self.total)
        self.offset = int(part.get("offset") or 0)
        return self.status != before

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

    def update(self, part: dict[str, Any]) -> tuple[Layer, bool]:
        """The layer that a part is about, and whether its status changed."""
        ref = str(part.get("ref", ""))
        known = ref in self.layers
        layer = self.layers.setdefault(ref, Layer(ref))
        changed = layer.update(part)
        return layer, changed or not known

    def finish(self) -> None:
        """The image is there, so all of it is."""
        for layer in self.layers.values():
            layer.status, layer.offset = DONE, layer.total

    def lines(self, columns: int, rows: int) -> list[str]:
        """What a terminal of that size shows; of too many layers, those that still have work."""
        layers = [layer for layer in self.layers.values() if layer.is_blob] or list(self.layers.values())
        count = len(layers)
        room = max(1, rows - 2)
        if len(layers) > room:
            busy = [layer for layer in layers if layer.status not in (DONE, "waiting")]
            rest = [layer for layer in layers if layer not in busy]
            shown = (busy + rest)[:room]
            layers = [layer for layer in layers if layer in shown]
        width = max((len(layer.label) for layer in layers), default=0)
        lines = [layer_line(layer, min(width, columns // 2), columns) for layer in layers]
        hidden = count - len(layers)
        return [*lines, cut(f"and {hidden} more", columns)] if hidden else lines


def layer_line(layer: Layer, width: int, columns: int) -> str:
    """One line: name, status, bar, and how much."""
    start = f"{cut(printable(layer.label), width):<{width}}  {printable(layer.status):<11}"
    if layer.status in (DONE, "waiting", "resolving") or not layer.total:
        amount = size(layer.total) if layer.total else size(layer.offset) if layer.offset else ""
        return cut(f"{start}  {amount}".rstrip(), columns)
    amount = f"{size(layer.offset)} / {size(layer.total)}"
    bar = BAR if columns >= len(start) + BAR + len(amount) + 6 else NARROW_BAR
    return cut(f"{start}  {bar_of(layer.offset, layer.total, bar)}  {amount}", columns)


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

    def _draw(self) -> None:
        self._at = time.monotonic()
        columns, rows = _size(self._out)
        lines = self._layers.lines(columns - 1, rows)
        up = _CURSOR_UP % self._drawn if self._drawn else ""
        text = "".join(f"{line}{_CLEAR_LINE}\n" for line in lines)
        self._out.write(f"{up}\r{text}{_CLEAR_BELOW}")
        self._out.flush()
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
            self._out.write(f"{printable(layer.label)}: {printable(layer.status)}{amount}\n")
            self._out.flush()

    def close(self, *, done: bool = False) -> None:
        """Nothing is left to say."""


class Quiet:
    """Says nothing."""

    def part(self, part: dict[str, Any]) -> None:
        """Ignore it."""

    def close(self, *, done: bool = False) -> None:
        """Nothing is left to say."""


def progress(out: TextIO | None = None, *, quiet: bool = False) -> Bars | Lines | Quiet:
    """What suits standard error (or `out`)."""
    out = out or sys.stderr
    if quiet:
        return Quiet()
    return Bars(out) if out.isatty() and os.environ.get("TERM") != "dumb" else Lines(out)


def _size(out: TextIO) -> tuple[int, int]:
    try:
        found = os.get_terminal_size(out.fileno())
    except (OSError, ValueError):
        return 80, 24
    return found.columns or 80, found.lines or 24
