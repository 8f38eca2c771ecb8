"""Encoding in plain Python, byte for byte as transport/codec.py does: for the command line's first request.

The library is there 4 ms after it was asked for, since it needs dates and named tuples; who has asked by then
has the daemon at work meanwhile, and decodes with the library.
"""

from __future__ import annotations

from _struct import pack as _pack_float  # what `struct` wraps

from transport.errors import ProtocolError

TYPE_CHECKING = False  # see transport/errors.py
if TYPE_CHECKING:
    from typing import Any

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
