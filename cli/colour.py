"""Colours for people at a terminal: none in pipes and files, none where NO_COLOR is set (no-color.org)."""

from __future__ import annotations

from transport.bare import variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

GREEN, CYAN, YELLOW, RED = "32", "36", "33", "31"


def coloured(text: str, colour: str, stream: TextIO) -> str:
    """`text` in that colour (an SGR parameter), if `stream` shows colours."""
    if variable("NO_COLOR") or variable("TERM") == "dumb" or not stream.isatty():
        return text
    return f"\x1b[{colour}m{text}\x1b[0m"
