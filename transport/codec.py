"""The msgpack profile of the wire (docs/protocol.md, "Values").

String keys, str and bin apart, integers from -2^63 to 2^64-1, no extension types, depth at most 64.
What comes from a peer is bounded before anything is allocated for it: msgpack refuses a header that
promises more elements than the message has bytes.
"""

from __future__ import annotations

import msgpack

from transport.errors import ProtocolError

TYPE_CHECKING = False  # see transport/errors.py
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

MAX_DEPTH = 64
MAX_BODY = 16 * 1024 * 1024


def pack(value: Any) -> bytes:
    """Encode one value. Raises ProtocolError for what the profile does not have."""
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"cannot encode: {error}") from error
    return packed


def unpack(data: bytes) -> Any:
    """Decode exactly one value. Raises ProtocolError, never anything else."""
    if len(data) > MAX_BODY:
        raise ProtocolError(f"message of {len(data)} bytes is larger than {MAX_BODY}")
    try:
        value = msgpack.unpackb(
            data, raw=False, object_hook=_check_map, list_hook=_check_list, ext_hook=_refuse_extension
        )
        _check_list((value,))
    except (ValueError, TypeError, RecursionError) as error:
        raise ProtocolError(f"not msgpack: {type(error).__name__}: {error}"[:200]) from error
    if len(data) > MAX_DEPTH:  # a shorter one cannot nest deeper
        _check_depth(value)
    return value


def _refuse_extension(code: int, _data: bytes) -> Any:
    raise ValueError(f"extension type {code} is not part of the profile")


def _check_map(value: dict[Any, Any]) -> dict[Any, Any]:
    for key in value:
        if type(key) is not str:
            raise ValueError("a map with a key that is no string")  # all say the same
    _check_list(value.values())
    return value


def _check_list(value: Any) -> Any:
    """Timestamps are an extension that msgpack decodes by itself."""
    for inner in value:
        if type(inner) is msgpack.Timestamp:
            _refuse_extension(-1, b"")
    return value


def _check_depth(value: Any) -> None:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _elements(outer) if isinstance(inner, dict | list)]
        if not level:
            return
    raise ProtocolError(f"nested deeper than {MAX_DEPTH}")


def _elements(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
