"""Printing: tables that fit the terminal, JSON, sizes and times as people say them."""

from __future__ import annotations

import posix  # what `os` wraps: transport/bare.py
import sys
import time

from transport.bare import variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from cli.options import Given
    from cli.session import Session
    from cli.template import Template

GAP = "  "
NARROWEST = 8  # a column is not cut shorter than this, as long as others can be
NAMING = 20  # the same, of the column that tells rows apart
LEAST = 3  # two characters and an ellipsis
SECOND = 1_000_000_000
SHORT_ID = 12
_templates: list[Template] = []  # the one of --format, if it is one
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def terminal_width() -> int | None:
    """Columns of the terminal that standard output is, None when it is none: then nothing is cut."""
    try:
        if not sys.stdout.isatty():
            return None
        columns = variable("COLUMNS")
        if columns.isdecimal() and int(columns) > 0:
            return int(columns)
        return posix.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None


def print_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    flexible: Sequence[int] = (),
    tails: Sequence[int] = (),
    naming: int = 0,
) -> None:
    """Print rows under heads; where they are too wide, the `flexible` columns are cut, widest first.

    Columns in `tails` are cut at their beginning, since what tells them apart is at the end. Where that is
    not enough all are cut, and last of all the one that is `naming` the rows.
    """
    for line in table(heads, rows, flexible, terminal_width(), tails, naming):
        print(line)


def print_listing(
    session: Session,
    given: Given,
    found: Sequence[dict[str, Any]],
    heads: Sequence[str],
    row: Callable[[dict[str, Any], int], Sequence[str]],
    flexible: Sequence[int] = (),
    tails: Sequence[int] = (),
    *,
    key: str = "name",
) -> None:
    """What an `ls` prints: with --quiet only the `key` of each, else JSON, or a table.

    `row` makes a line of the table and is told what time it is; `flexible` and `tails` as in `print_table`.
    """
    if given.flag("quiet"):
        for one in found:
            print(one[key])
    elif session.json:
        print_json(found)
    else:
        now = time.time_ns()
        print_table(heads, [row(one, now) for one in found], flexible, tails)


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    flexible: Sequence[int] = (),
    width: int | None = None,
    tails: Sequence[int] = (),
    naming: int | None = None,
) -> list[str]:
    """The lines of a table of at most `width` columns: where that is possible, if no column is `naming`."""
    cells = [list(map(printable, row)) for row in (heads, *rows)]
    widths = [max(columns(row[column]) for row in cells) for column in range(len(heads))]
    if width is not None:
        widths = (
            fitted(widths, flexible, width) if naming is None else squeezed(widths, flexible, width, naming)
        )
    first, *rest = cells
    return [_line(first, widths, ()), *(_line(row, widths, tails) for row in rest)]


def squeezed(widths: list[int], flexible: Sequence[int], width: int, naming: int) -> list[int]:
    """Narrower columns, so that all of them fit whatever it takes; the one that is `naming` the rows last."""
    others = [column for column in range(len(widths)) if column != naming]
    for which, least in (
        ([column for column in flexible if column != naming], NARROWEST),
        (others, NARROWEST),
        ([naming], NAMING),
        (others, LEAST),
        ([naming], 1),
        (others, 1),
    ):
        widths = fitted(widths, which, width, least)
    return widths


def fitted(widths: list[int], flexible: Sequence[int], width: int, least: int = NARROWEST) -> list[int]:
    """Narrower columns, so that all of them fit; only `flexible` ones shrink, to `least` at least."""
    widths = list(widths)
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - width
    while excess > 0:
        widest = max(flexible, key=lambda column: widths[column], default=None)
        if widest is None or widths[widest] <= least:
            break
        widths[widest] -= 1
        excess -= 1
    return widths


def _line(row: list[str], widths: list[int], tails: Sequence[int]) -> str:
    cells = [
        padded((cut_front if column in tails else cut)(cell, width), width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return GAP.join(cells).rstrip()


def columns(text: str) -> int:
    """How many columns of a terminal it takes: a Chinese character two, an accent of its own none."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    import unicodedata

    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def padded(text: str, width: int) -> str:
    """With spaces behind it, `width` columns."""
    return text + " " * (width - columns(text))


def cut(text: str, width: int) -> str:
    """At most `width` columns, the last one `…` when there was more."""
    return text if columns(text) <= width else text[: _fitting(text, width - 1)] + "…"


def cut_front(text: str, width: int) -> str:
    """At most `width` columns, the first one `…` when there was more."""
    return text if columns(text) <= width else "…" + text[len(text) - _fitting(text[::-1], width - 1) :]


def _fitting(text: str, width: int) -> int:
    """How many characters from its beginning take at most `width` columns."""
    if text.isascii():
        return max(0, width)
    taken = 0
    for number, character in enumerate(text):
        taken += _columns(character)
        if taken > width:
            return number
    return len(text)


def printable(text: str) -> str:
    """Names and commands come from strangers: no control characters reach the terminal."""
    return text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text)


def print_json(value: Any) -> None:
    """Print as indented JSON, or by the template that was given instead."""
    if not _templates:
        import json

        print(json.dumps(value, indent=2, ensure_ascii=False))
    elif _templates[-1].is_table:
        print_table(*_templates[-1].rows(value))
    else:
        for line in _templates[-1].lines(value):
            print(line)


def print_result(session: Session, found: Any, lines: Iterable[str]) -> None:
    """What a command has made or found: `found` as JSON or by a template, else `lines`."""
    if session.json:
        print_json(found)
        return
    for line in lines:
        print(line)


def print_object(value: Any) -> None:
    """One of many that come one after the other: JSON in a line, or by the template that was given."""
    for line in object_lines(value):
        print(line, flush=True)


def object_lines(value: Any) -> list[str]:
    """What `print_object` prints."""
    if _templates:
        return list(_templates[-1].lines(value))
    import json

    return [json.dumps(value, ensure_ascii=False)]


def by_template() -> bool:
    """Whether a template was given."""
    return bool(_templates)


def print_by(template: str) -> None:
    """From now on, what would be printed as JSON is printed by `template`. Raises UsageError."""
    from cli.template import Template

    _templates.append(Template(template))


def short(identity: str) -> str:
    """The beginning of a container's id or of a digest, enough to tell it from others."""
    _, _, hexadecimal = identity.rpartition(":")
    return hexadecimal[:SHORT_ID]


def familiar(image: str) -> str:
    """An image's name as people type it, without the registry and folder that are meant anyhow."""
    rest = image.removeprefix("docker.io/")
    return rest.removeprefix("library/") if rest != image else image


def size(count: float) -> str:
    """Bytes in decimal units: `95.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.95:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def span(nanoseconds: int) -> str:
    """A span of time in its largest unit: `3 minutes`."""
    seconds = max(0, nanoseconds) // SECOND
    for name, length in _UNITS:
        if seconds >= length:
            count = seconds // length
            return f"{count} {name}" if count == 1 else f"{count} {name}s"
    return "0 seconds"


def brief(nanoseconds: int) -> str:
    """The same in a few characters: `3m`."""
    count, unit = span(nanoseconds).split()
    return count + unit[0]


def ago(then: int, now: int) -> str:
    """How long ago a time in nanoseconds since the epoch was; empty for 0, which means never."""
    return f"{span(now - then)} ago" if then else ""


def stamp(nanoseconds: int) -> str:
    """A time as RFC 3339 has it, in UTC, to the microsecond."""
    seconds, rest = divmod(nanoseconds, SECOND)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1000:06d}Z"
