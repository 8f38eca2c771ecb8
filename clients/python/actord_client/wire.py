"""Messages to frames and back, as docs/protocol.md has it under "Frames" and "Values"."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from actord_client.errors import ProtocolError

SIGNATURE: Final = b"ACTD1"
MAX_MESSAGE: Final = 64 << 20
MAX_BODY: Final = 16 << 20
MAX_BUFFERS: Final = 16
MAX_DEPTH: Final = 64
MAX_NAME: Final = 256
TYPES: Final = frozenset({
    "HELLO", "WELCOME", "REQ", "NOTE", "PART", "FIN", "ERR", "CANCEL", "CREDIT", "SUB", "EVT", "PING", "PONG",
    "BYE",
})  # fmt: skip
KEYS: Final[dict[str, type]] = {
    "t": str, "id": bytes, "re": bytes, "to": str, "fr": str, "inc": int, "m": str, "dl": int, "ik": str,
    "sq": int, "nr": int, "cr": int, "tr": str,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `packed` is its body, still as it came; `buffers` are the raw bytes beside it."""

    header: dict[str, Any]
    packed: bytes = b"\x80"
    buffers: tuple[bytes, ...] = ()

    @property
    def type(self) -> str:
        """`FIN`, `PART` and so on."""
        return str(self.header["t"])

    @property
    def body(self) -> Any:
        """The body, read. Raises ProtocolError."""
        return unpack(self.packed)


def new_id() -> bytes:
    """A name for a request."""
    return os.urandom(16)


def encode(header: dict[str, Any], body: Any = None, buffers: Sequence[bytes] = ()) -> list[bytes]:
    """The frames of a message. Raises ProtocolError for a value that msgpack does not have.

    And for what a router would refuse as malformed: it could not say whose message that was.
    """
    for key, value in header.items():
        _check(key, value)
    try:
        packed = [msgpack.packb(value, use_bin_type=True) for value in (header, {} if body is None else body)]
    except (TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"cannot be sent: {error}") from error
    frames = [SIGNATURE, *packed, *buffers]
    _check_size(frames)
    return frames


def decode(frames: Sequence[bytes]) -> Message:
    """Read a message; unknown keys of the header are dropped. Raises ProtocolError."""
    if frames and not frames[0]:  # what REQ sockets put in front
        frames = frames[1:]
    if len(frames) < 2 or frames[0] != SIGNATURE:
        raise ProtocolError("not a message of actord's protocol, version 1")
    _check_size(frames)
    header = unpack(frames[1])
    if not isinstance(header, dict):
        raise ProtocolError("the header is not a map")
    known = {key: header[key] for key in KEYS if key in header}
    for key, value in known.items():
        _check(key, value)
    if known.get("t") not in TYPES:
        raise ProtocolError("a message of no known type")
    return Message(known, frames[2] if len(frames) > 2 else b"\x80", tuple(frames[3:]))


def _check_size(frames: Sequence[bytes]) -> None:
    if len(frames) > 3 + MAX_BUFFERS or sum(map(len, frames)) > MAX_MESSAGE:
        raise ProtocolError("a message with too many buffers or bytes")


def _check(key: str, value: Any) -> None:
    kind: Any = KEYS[key]
    if type(value) is not kind:
        raise ProtocolError(f"header key {key} has the wrong type")
    if (value < 0) if kind is int else (len(value) > MAX_NAME):
        raise ProtocolError(f"header key {key} is out of bounds")


def unpack(packed: bytes) -> Any:
    """Exactly one value of the profile. Raises ProtocolError."""
    if len(packed) > MAX_BODY:
        raise ProtocolError(f"a value of more than {MAX_BODY} bytes")
    try:
        value = msgpack.unpackb(packed, raw=False, ext_hook=_refuse)
    except (ValueError, TypeError, RecursionError) as error:
        raise ProtocolError(f"not msgpack: {error}") from error
    _check_value(value, MAX_DEPTH)
    return value


def _refuse(code: int, _: bytes) -> Any:
    raise ValueError(f"extension type {code}")


def _check_value(value: Any, depth: int) -> None:
    if isinstance(value, msgpack.Timestamp):
        raise ProtocolError("an extension type")
    if not isinstance(value, dict | list):
        return
    if depth == 0:
        raise ProtocolError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        raise ProtocolError("a map with a key that is no string")
    for inner in value.values() if isinstance(value, dict) else value:
        _check_value(inner, depth - 1)
