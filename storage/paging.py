"""Lists in pages: as many rows as one message may hold, and what the next page begins after."""

from contextlib import closing
from typing import Any, Final

from storage.database import Database, Parameters

PAGE_ROWS: Final = 5000
PAGE_BYTES: Final = 4 << 20
_ROW_BYTES: Final = 512  # of names and times around what a row says


def page(database: Database, sql: str, parameters: Parameters) -> tuple[tuple[tuple[Any, ...], ...], bool]:
    """The first of the rows, at least one if there are any: a row may have labels of 4 MiB.

    And whether there are more; none of those is read but the next one.
    """
    found: list[tuple[Any, ...]] = []
    size = 0
    with closing(database.each(sql, parameters)) as rows:
        for row in rows:
            if size > PAGE_BYTES or len(found) == PAGE_ROWS:
                return tuple(found), True
            found.append(row)
            size += _ROW_BYTES + sum(len(value) for value in row if isinstance(value, str))
    return tuple(found), False
