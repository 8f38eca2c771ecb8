"""msgpack in plain Python, with the results of transport/codec.py: for the command line's few small messages.

The library takes a command 5 ms to import, since it needs dates and named tuples. What is larger than a page
or two is its work all the same.
"""

from __future__ import annotations

from _struct import pack as _pack_float  # what `struct` wraps
from _struct import unpack_from as _unpack_float

from transport.errors import ProtocolError

TYPE_CHECKING = False  # see transport/errors.py
if TYPE_CHECKING:
    from typing import Any

SMALL = 8192  # bytes
MAX_DEPTH = 64
_TEXT, _BINARY, _LIST, _MAP = range(4)
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_FLOATS = {0xCA: (">f", 4), 0xCB: (">d", 8)}
_NUMBERS = {0xCC + n: (1 << n, False) for n in range(4)} | {0xD0 + n: (1 << n, True) for n in range(4)}
_LONGER = {
    0xC4: (_BINARY, 1), 0xC5: (_BINARY, 2), 0xC6: (_BINARY, 4), 0xD9: (_TEXT, 1), 0xDA: (_TEXT, 2),
    0xDB: (_TEXT, 4), 0xDC: (_LIST, 2), 0xDD: (_LIST, 4), 0xDE: (_MAP, 2), 0xDF: (_MAP, 4),
}  # fmt: skip
_INTEGERS = (
    (0xCC, 0xD0, 1),
    (0xCD, 0xD1, 2),
    (0xCE, 0xD2, 4),
    (0xCF, 0xD3, 8),
)  # without sign, with it, size


def pack(value: Any) -> bytes:
    """Encode one value (https://github.com/msgpack/msgpack/blob/master/spec.md).

    Raises:
        ProtocolError: the profile of docs/protocol.md has no such value.
    """
    out = bytearray()
    try:
        _put(out, value)
    except (ValueError, RecursionError) as error:  # a lone surrogate, a value that holds itself
        raise ProtocolError(f"cannot encode: {error}") from error
    return bytes(out)


def _put(out: bytearray, value: Any) -> None:
    if value is None or value is True or value is False:
        out.append(0xC0 if value is None else 0xC3 if value else 0xC2)
    elif isinstance(value, str):
        content = value.encode()
        _head(out, len(content), (0xA0, 32), (0xD9, 0xDA, 0xDB))
        out += content
    elif isinstance(value, bytes):
        _head(out, len(value), (0, 0), (0xC4, 0xC5, 0xC6))
        out += value
    elif isinstance(value, int):
        _put_integer(out, value)
    elif isinstance(value, dict):
        _head(out, len(value), (0x80, 16), (0, 0xDE, 0xDF))
        for key, inner in value.items():
            _put(out, key)
            _put(out, inner)
    elif isinstance(value, list | tuple):
        _head(out, len(value), (0x90, 16), (0, 0xDC, 0xDD))
        for inner in value:
            _put(out, inner)
    elif isinstance(value, float):
        out.append(0xCB)
        out += _pack_float(">d", value)
    else:
        raise ProtocolError(f"cannot encode: can not serialize {type(value).__name__!r} object")


def _head(out: bytearray, size: int, short: tuple[int, int], longer: tuple[int, int, int]) -> None:
    """What comes first, and how much of it: in one byte, or behind one that says in how many."""
    first, below = short
    if size < below:
        out.append(first | size)
        return
    for code, width in zip(longer, (1, 2, 4), strict=True):
        if code and size < 1 << 8 * width:
            out.append(code)
            out += size.to_bytes(width, "big")
            return
    raise ProtocolError("cannot encode: too large")


def _put_integer(out: bytearray, value: int) -> None:
    if -32 <= value < 128:
        out.append(value & 0xFF)
        return
    for positive, negative, width in _INTEGERS:
        bits = 8 * width
        if value >= 0 and value < 1 << bits:
            out.append(positive)
            out += value.to_bytes(width, "big")
            return
        if value < 0 and value >= -(1 << bits - 1):
            out.append(negative)
            out += value.to_bytes(width, "big", signed=True)
            return
    raise ProtocolError("cannot encode: integer is too large")


def unpack(data: bytes) -> Any:
    """Decode exactly one value. Raises ProtocolError, never anything else."""
    if len(data) > SMALL:
        from transport.codec import unpack as decode  # noqa: PLC0415  # see above

        return decode(data)
    try:
        value, end = _take(data, 0, MAX_DEPTH)
    except (IndexError, UnicodeDecodeError, ValueError) as error:
        raise ProtocolError(f"not msgpack: {error}") from error
    if end != len(data):
        raise ProtocolError("not msgpack: something follows the value")
    return value


def _take(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    """The value that begins there, and where it ends. Raises IndexError, ValueError."""
    first, at = data[at], at + 1
    if first < 0x80 or first >= 0xE0:
        return first if first < 0x80 else first - 256, at
    if first in _CONSTANTS:
        return _CONSTANTS[first], at
    if first in _FLOATS:
        letter, width = _FLOATS[first]
        if at + width > len(data):
            raise IndexError("the end is missing")
        return _unpack_float(letter, data, at)[0], at + width
    if first in _NUMBERS:
        width, signed = _NUMBERS[first]
        return int.from_bytes(_bytes(data, at, width), "big", signed=signed), at + width
    kind, size, at = _sized(data, first, at)
    if kind in (_TEXT, _BINARY):
        content = _bytes(data, at, size)
        return content.decode() if kind == _TEXT else content, at + size
    if not depth:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    return _map(data, at, size, depth - 1) if kind == _MAP else _list(data, at, size, depth - 1)


def _sized(data: bytes, first: int, at: int) -> tuple[int, int, int]:
    """What kind of value it is, how large, and where its content begins."""
    if first < 0xC0:
        short = (_MAP, 15) if first < 0x90 else (_LIST, 15) if first < 0xA0 else (_TEXT, 31)
        return short[0], first & short[1], at
    if first not in _LONGER:
        raise ValueError(f"a value of type {first:#x}")
    kind, width = _LONGER[first]
    return kind, int.from_bytes(_bytes(data, at, width), "big"), at + width


def _bytes(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise IndexError("the end is missing")
    return data[at : at + size]


def _map(data: bytes, at: int, size: int, depth: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    for _ in range(size):
        key, at = _take(data, at, depth)
        if type(key) is not str:
            raise ValueError("a map with a key that is no string")  # all say the same
        found[key], at = _take(data, at, depth)
    return found, at


def _list(data: bytes, at: int, size: int, depth: int) -> tuple[list[Any], int]:
    found: list[Any] = []
    for _ in range(size):
        value, at = _take(data, at, depth)
        found.append(value)
    return found, at
