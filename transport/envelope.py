"""The envelope: what surrounds every message (docs/protocol.md, "Frames").

Frames: `ACTD1` | header (msgpack map) | body (msgpack) | 0..n raw buffers. The body stays packed until
the one who is meant reads it, so the router never looks inside.

Each message is read and written several times on its way, so msgspec does it, from the types of the fields. A
header that it does not take is read once more in plain Python, which knows what is wrong with it, or that
nothing is: unknown keys are ignored.
"""

import operator
import os
from typing import Annotated, Any

import msgspec
from msgspec.structs import force_setattr, replace

from transport.codec import pack, unpack
from transport.errors import ProtocolError, RemoteError

SIGNATURE = b"ACTD1"
MAX_BUFFERS = 16
MAX_NAME = 256
MAX_MESSAGE = 64 * 1024 * 1024
TYPES = frozenset(
    {
        "HELLO",
        "WELCOME",
        "REQ",
        "NOTE",
        "PART",
        "FIN",
        "ERR",
        "CANCEL",
        "CREDIT",
        "SUB",
        "EVT",
        "PING",
        "PONG",
        "BYE",
    },
)
EMPTY = b"\x80"  # an empty msgpack map


_Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
_Id = Annotated[bytes, msgspec.Meta(max_length=MAX_NAME)]
_Number = Annotated[int, msgspec.Meta(ge=0)]


class Envelope(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One message.

    Attributes:
        type: one of `TYPES`.
        id: 16 random bytes that name a request.
        re: the id that this message answers or concerns.
        to: an actor's name (requests), or the address given in `fr` (answers).
        fr: address of the sender, stamped by the router; what a sender claims is overwritten.
        by: name of the key with which the sender came in from another host, stamped by the router; empty for
            one of this host.
        inc: the incarnation that the sender expects, 0 for any.
        op: operation, for example `images.get`.
        deadline: milliseconds left when it was sent, 0 for none.
        key: idempotency key, empty for none.
        seq: sequence number of a PART or EVT.
        number: of a PART or EVT in its stream, from 1, and of the final answer that ends one: who misses a
            number has lost something on the way, and takes the stream up again.
        credit: bytes or events that the receiver may send further.
        trace: trace id, carried along from request to request.
        body: packed msgpack.
        buffers: raw bytes beside the body.
    """

    type: _Name = msgspec.field(name="t")
    id: _Id = b""
    re: _Id = b""
    to: _Name = ""
    fr: _Name = ""
    by: _Name = ""
    inc: _Number = 0
    op: _Name = msgspec.field(name="m", default="")
    deadline: _Number = msgspec.field(name="dl", default=0)
    key: _Name = msgspec.field(name="ik", default="")
    seq: _Number = msgspec.field(name="sq", default=0)
    number: _Number = msgspec.field(name="nr", default=0)
    credit: _Number = msgspec.field(name="cr", default=0)
    trace: _Name = msgspec.field(name="tr", default="")
    body: bytes = EMPTY  # this and what follows is beside the header
    buffers: tuple[bytes, ...] = ()

    def to_frames(self) -> list[bytes]:
        """Encode; keys with their empty value are left out. Raises ProtocolError for what cannot be."""
        header = {key: value for key, value in zip(_KINDS, _values(self), strict=True) if value}
        try:
            packed = _encode(header)
        except (TypeError, ValueError, OverflowError) as error:
            raise ProtocolError(f"cannot encode: {error}") from error
        return [SIGNATURE, packed, self.body, *self.buffers]

    def value(self) -> Any:
        """The body, decoded. Raises ProtocolError."""
        return unpack(self.body)

    def forwarded(self, fr: str) -> "Envelope":
        """The same message as the router passes it on: stamped with its true sender."""
        if self.fr == fr:
            return self
        return replace(self, fr=fr)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Envelope).decode
_KINDS = {
    field.encode_name: (field.name, str if field.required else type(field.default))
    for field in msgspec.structs.fields(Envelope)
    if field.name not in ("body", "buffers")
}
_values = operator.attrgetter(*(name for name, _ in _KINDS.values()))


def parse(frames: list[bytes], fr: str = "", by: str = "") -> Envelope:
    """Read a message, of the sender `fr` if that is known. Raises ProtocolError; unknown keys are ignored."""
    if frames and not frames[0]:  # what a REQ socket puts in front
        frames = frames[1:]
    if len(frames) < 2 or frames[0] != SIGNATURE:
        raise ProtocolError("not an ACTD1 message")
    if len(frames) > 3 + MAX_BUFFERS:
        raise ProtocolError(f"more than {MAX_BUFFERS} buffers")
    if sum(map(len, frames)) > MAX_MESSAGE:
        raise ProtocolError(f"a message of more than {MAX_MESSAGE} bytes")
    try:
        message = _decode(frames[1])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = _with_a_reason(frames[1])
    if message.type not in TYPES:
        raise ProtocolError("unknown message type")
    force_setattr(message, "body", frames[2] if len(frames) > 2 else EMPTY)  # nobody else has seen it yet
    force_setattr(message, "buffers", tuple(frames[3:]))
    if fr:
        force_setattr(message, "fr", fr)
        force_setattr(message, "by", by)
    return message


def _with_a_reason(packed: bytes) -> Envelope:
    """Read a header of which something is unknown or wrong; the error says what."""
    header = unpack(packed)
    if not isinstance(header, dict):
        raise ProtocolError("the header is not a map")
    fields = {_KINDS[key][0]: _field(key, header[key]) for key in header if key in _KINDS}
    return Envelope(**{"type": "", **fields})


def _field(key: str, value: Any) -> Any:
    kind: Any = _KINDS[key][1]
    if type(value) is not kind:
        raise ProtocolError(f"header key {key} is not of type {kind.__name__}")
    if kind is int:
        if value < 0:
            raise ProtocolError(f"header key {key} is negative")
    elif len(value) > MAX_NAME:
        raise ProtocolError(f"header key {key} is longer than {MAX_NAME}")
    return value


def request(
    to: str,
    op: str,
    body: Any,
    *,
    deadline: int = 0,
    key: str = "",
    credit: int = 0,
    trace: str = "",
) -> Envelope:
    """A new request with a fresh id; `deadline` in milliseconds, 0 for none."""
    return Envelope(
        "REQ",
        id=os.urandom(16),
        to=to,
        op=op,
        deadline=deadline,
        key=key,
        credit=credit,
        trace=trace,
        body=pack(body),
    )


def note(to: str, op: str, body: Any) -> Envelope:
    """A message that wants no answer."""
    return Envelope("NOTE", to=to, op=op, body=pack(body))


def answer(asked: Envelope, body: Any) -> Envelope:
    """The final result of `asked`."""
    return Envelope("FIN", re=asked.id, to=asked.fr, body=pack(body))


def failure(asked: Envelope, error: RemoteError) -> Envelope:
    """The final error of `asked`."""
    return Envelope("ERR", re=asked.id, to=asked.fr, body=pack(error.to_body()))


def part(asked: Envelope, body: Any, *buffers: bytes, seq: int = 0, number: int = 0) -> Envelope:
    """A partial result of `asked`, with raw bytes beside it."""
    return Envelope(
        "PART", re=asked.id, to=asked.fr, seq=seq, number=number, body=pack(body), buffers=buffers
    )


def unreadable(error: Exception) -> RemoteError:
    """What the sender of a malformed message is told."""
    return RemoteError("invalid_argument", f"message refused: {error}")
