"""Sparse files in tars: the four ways to say where the stored parts belong.

Old GNU headers list (offset, length) in binary fields; PAX 0.0 repeats records, 0.1 has one record with a
comma-separated map, 1.0 puts the map in decimal lines before the data. All end up in `Entry.sparse`.
Source: GNU tar manual, "Sparse Formats".
"""

from collections.abc import Callable

from storage.errors import InvalidArgumentError
from storage.layer.header import BLOCK, Entry, number, shown
from storage.layer.pax import Extension, decimal

_SLOT = 24
_IN_HEADER = range(386, 386 + 4 * _SLOT, _SLOT)
_IN_EXTENSION = range(0, 21 * _SLOT, _SLOT)


def read_old_gnu(entry: Entry, block: bytes, next_block: Callable[[], bytes], map_bytes: int) -> None:
    """Take the map of an `S` header and of the extension blocks behind it, `map_bytes` of them at most."""
    numbers: list[int] = []
    _collect(block, _IN_HEADER, numbers)
    more = block[482]
    budget = map_bytes
    while more:
        budget -= BLOCK
        if budget < 0:
            raise _broken(entry, "map is too large")
        extension = next_block()
        _collect(extension, _IN_EXTENSION, numbers)
        more = extension[504]
    stored, entry.size = entry.size, number(block[483:495], "sparse size")
    _adopt(entry, numbers, stored)


def _collect(block: bytes, slots: range, numbers: list[int]) -> None:
    for start in slots:
        length = block[start + 12 : start + _SLOT]
        if length[0]:
            numbers.append(number(block[start : start + 12], "sparse offset"))
            numbers.append(number(length, "sparse length"))


def is_version_1(extension: Extension) -> bool:
    """Whether the map stands before the data (format 1.0)."""
    return extension.sparse.get(b"major") == b"1" and extension.sparse.get(b"minor") == b"0"


def read_pax_records(entry: Entry, extension: Extension) -> None:
    """Take the map of formats 0.0 and 0.1, if the header has one."""
    fields = extension.sparse
    if b"map" in fields:
        texts = fields[b"map"].split(b",") if fields[b"map"] else []
    elif b"numblocks" in fields:
        texts = extension.segments
    else:
        return
    entry.name = fields.get(b"name", entry.name)
    stored, entry.size = entry.size, decimal(fields.get(b"size", b""), "sparse size")
    _adopt(entry, [decimal(text, "sparse map") for text in texts], stored)


def read_version_1(
    entry: Entry, extension: Extension, next_block: Callable[[], bytes], map_bytes: int
) -> int:
    """Take the map that stands before the data; the bytes of the body that it occupied."""
    fields = extension.sparse
    entry.name = fields.get(b"name", entry.name)
    text, used = b"", 0
    wanted = 1  # lines: the count, then two for each segment
    lines: list[bytes] = []
    while len(lines) < wanted:
        if used >= min(map_bytes, entry.size):
            raise _broken(entry, "map is cut off or too large")
        *complete, text = (text + next_block()).split(b"\n")
        used += BLOCK
        if not lines and complete:
            wanted = 1 + 2 * decimal(complete[0], "sparse count")
        if len(text) > BLOCK:
            raise _broken(entry, "map is malformed")
        lines += complete
    stored, entry.size = entry.size - used, decimal(fields.get(b"realsize", b""), "sparse size")
    _adopt(entry, [decimal(line, "sparse map") for line in lines[1:wanted]], stored)
    return used


def _adopt(entry: Entry, numbers: list[int], stored: int) -> None:
    """Check the map and attach it: in order, not overlapping, inside the file, as long as what is stored."""
    if len(numbers) % 2:
        raise _broken(entry, "map has an offset without a length")
    position = total = 0
    segments = list(zip(numbers[::2], numbers[1::2], strict=True))
    for offset, length in segments:
        if offset < position or length < 0:
            raise _broken(entry, "map is out of order")
        position = offset + length
        total += length
    if position > entry.size or total != stored:
        raise _broken(entry, "map does not match the sizes")
    entry.sparse, entry.stored = segments, stored


def _broken(entry: Entry, problem: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"layer entry {shown(entry.name)}: sparse {problem}")
