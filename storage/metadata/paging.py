"""Lists in pages: as many rows as one message may hold, and what the next page begins after."""

from collections.abc import Iterable
from typing import Any, Final

PAGE_ROWS: Final = 5000
PAGE_BYTES: Final = 4 << 20
_ROW_BYTES: Final = 512  # of names and times around what a row says


def page(rows: Iterable[tuple[Any, ...]]) -> tuple[tuple[Any, ...], ...]:
    """The first of the rows, at least one if there are any: a row may have labels of 4 MiB."""
    found = []
    size = 0
    for row in rows:
        if size > PAGE_BYTES:
            break
        found.append(row)
        size += _ROW_BYTES + sum(len(value) for value in row if isinstance(value, str))
    return tuple(found)
