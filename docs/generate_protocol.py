#!/usr/bin/env python3
"""Writes what docs/protocol.md says of each operation, and docs/protocol/vectors.json, from the code.

    PYTHONPATH=. .venv/bin/python docs/generate_protocol.py

tests/unit/test_docs.py fails when the result differs from what is there, so neither can drift.
"""

import dataclasses
import inspect
import json
import re
import typing
from pathlib import Path
from typing import Any, Final

import msgspec

from actors.messages import OPERATIONS, Operation
from transport.codec import MAX_DEPTH, pack
from transport.envelope import MAX_BUFFERS, MAX_NAME, SIGNATURE, Envelope, answer, note, part
from transport.errors import RemoteError

DOCS: Final = Path(__file__).resolve().parent
PROTOCOL: Final = DOCS / "protocol.md"
VECTORS: Final = DOCS / "protocol" / "vectors.json"
BEGIN: Final = "<!-- operations: written by docs/generate_protocol.py -->"
END: Final = "<!-- operations end -->"

KINDS: Final = {
    "container": "A kind: addressed to one container's actor, `container/<namespace>/<id>`, as "
    "`containers.create` and `containers.get` give it in `actor`.",
    "puller": "A kind: addressed to one transfer's actor, as `images.pull` gives it in `actor`.",
    "job": "A kind: addressed to one job's actor, as `jobs.start` gives it in `actor`.",
    "any": "Addressed to any actor but the router.",
}
_PLAIN: Final[dict[Any, str]] = {str: "str", int: "int", float: "float", bool: "bool", type(None): "nil"}


def operations() -> str:
    """The section about operations, between its two markers."""
    lines = [BEGIN, ""]
    for owner in dict.fromkeys(operation.owner for operation in OPERATIONS.values()):
        lines += [f"### {owner}", "", KINDS.get(owner, f"Addressed to `{owner}`."), ""]
        for operation in OPERATIONS.values():
            if operation.owner == owner:
                lines += [*_described(operation), ""]
    return "\n".join([*lines, END])


def _described(operation: Operation) -> list[str]:
    marks = ["repeatable"] * operation.repeatable + ["streams"] * operation.streams
    text, meanings = _documentation(operation.body)
    fields = dataclasses.fields(operation.body)
    hints = typing.get_type_hints(operation.body)
    lines = [f"#### `{operation.name}`", "", f"{text} *({', '.join(marks)})*" if marks else text]
    if not fields:
        return [*lines, "", "Body: an empty map."]
    rows = [_field(field, hints[field.name], meanings.get(field.name, "")) for field in fields]
    return [*lines, "", "| body | type | default | |", "|---|---|---|---|", *rows]


def _documentation(body: type) -> tuple[str, dict[str, str]]:
    """Its text in one paragraph, and what it says of single fields under `Attributes`."""
    text, _, attributes = inspect.cleandoc(body.__doc__ or "").partition("Attributes:\n")
    found = re.findall(r"^    (\w+): ((?:.|\n(?!    \w+: ))*)", attributes, re.MULTILINE)
    return " ".join(text.split()), {name: " ".join(meaning.split()) for name, meaning in found}


def _field(field: "dataclasses.Field[Any]", hint: Any, meaning: str) -> str:
    default = "required"
    if field.default is not dataclasses.MISSING:
        default = f"`{json.dumps(field.default)}`"
    elif field.default_factory is not dataclasses.MISSING:
        default = f"`{json.dumps(field.default_factory())}`"
    return f"| `{field.name}` | {_type(hint)} | {default} | {meaning} |"


def _type(hint: Any) -> str:
    if hint in _PLAIN:
        return _PLAIN[hint]
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(f"`{word}`" for word in typing.get_args(hint))
    parts = [_type(inner) for inner in typing.get_args(hint)]
    match typing.get_origin(hint) or hint:
        case kind if kind is list:
            return f"array of {parts[0]}"
        case kind if kind is dict:
            return "map" if typing.get_args(hint)[1] is Any else f"map of {parts[0]} to {parts[1]}"
        case kind if kind is Any:
            return "any"
        case _:
            return " or ".join(parts)


# Test vectors

_ID = bytes(range(16))
_LAST_ID = bytes(range(240, 256))
_DEEP = b"\x91" * (MAX_DEPTH - 1) + b"\x90"  # arrays in arrays, as many as are allowed


def _good() -> list[dict[str, Any]]:
    asked = Envelope("REQ", id=_ID, to="metadata", op="images.get", fr="~00ab")
    error = RemoteError("not_found", "image x does not exist", actor="metadata")
    chunk = part(asked, {"stream": 1, "offset": 6, "at": 1_700_000_000_000_000_000}, b"hello\n\xff\x00")
    event = Envelope("EVT", re=_ID, to="~00ab", seq=7, body=pack({"seq": 7, "topic": "/tasks/exit"}))
    body = pack({"namespace": "default", "name": "busybox"})
    request = Envelope("REQ", id=_ID, to="metadata", op="images.get", deadline=30_000, body=body)
    full = Envelope(
        "REQ",
        id=_LAST_ID,
        to="events",
        inc=3,
        op="events.subscribe",
        deadline=1,
        key="k",
        credit=100,
        trace="t",
    )
    cases = {
        "hello": Envelope("HELLO", id=_ID, body=pack({"minor": 0, "features": []})),
        "welcome": Envelope("WELCOME", re=_ID, body=pack({"protocol": 1, "features": []})),
        "request": request,
        "request with every key a client may set": full,
        "answer": answer(asked, {"name": "docker.io/library/busybox:latest"}),
        "empty answer": answer(asked, {}),
        "error": Envelope("ERR", re=_ID, to="~00ab", fr="metadata/4", body=pack(error.to_body())),
        "error of the router": Envelope("ERR", re=_ID, to="~00ab", body=pack(error.to_body())),
        "part with bytes beside it": chunk,
        "part with two buffers, one of them empty": part(asked, {}, b"", b"x"),
        "event": event,
        "part with its number": msgspec.structs.replace(chunk, number=1),
        "event with its number": msgspec.structs.replace(event, number=300),
        "the answer that ends a numbered stream": msgspec.structs.replace(
            answer(asked, {}), number=2**64 - 1
        ),
        "gap": Envelope("EVT", re=_ID, to="~00ab", seq=40, body=pack({"gap": 33})),
        "credit": Envelope("CREDIT", re=_ID, credit=65536),
        "cancel": Envelope("CANCEL", re=_ID),
        "note": note("router", "router.expect", {"names": ["metadata"]}),
        "ping": Envelope("PING", id=_ID),
        "pong": Envelope("PONG", re=_ID),
        "bye": Envelope("BYE"),
        "the largest and the smallest integer": answer(asked, {"max": 2**64 - 1, "min": -(2**63)}),
        "text beyond ascii": answer(asked, {"name": "sn\u00f6\u2603\U0001f600"}),
        "nested as deep as allowed": Envelope("FIN", re=_ID, body=_DEEP),
        "a number as deep as allowed": Envelope("FIN", re=_ID, body=b"\x91" * MAX_DEPTH + b"\x05"),
    }
    vectors = [_vector(name, message.to_frames(), message) for name, message in cases.items()]
    frames = request.to_frames()
    unknown = pack({"t": "REQ", "id": _ID, "to": "metadata", "m": "images.get", "dl": 30_000, "zz": [1, {}]})
    return [
        *vectors,
        _vector("an empty frame in front is skipped", [b"", *frames], request),
        _vector("unknown header keys are ignored", [SIGNATURE, unknown, body], request),
        _vector("no body frame means an empty map", [SIGNATURE, pack({"t": "PONG"})], Envelope("PONG")),
    ]


def _vector(name: str, frames: list[bytes], message: Envelope) -> dict[str, Any]:
    """`canonical` is how actord itself writes that message."""
    canonical = message.to_frames()
    fields = {
        key: value.hex() if isinstance(value, bytes) else value for key, value in _header(message).items()
    }
    return {
        "name": name,
        "frames": [frame.hex() for frame in frames],
        "header": fields,
        "body": message.value(),
        "buffers": [buffer.hex() for buffer in message.buffers],
        "canonical": None if canonical == frames else [frame.hex() for frame in canonical],
    }


def _header(message: Envelope) -> dict[str, Any]:
    names = {
        "t": message.type, "id": message.id, "re": message.re, "to": message.to, "fr": message.fr,
        "inc": message.inc, "m": message.op, "dl": message.deadline, "ik": message.key, "sq": message.seq,
        "nr": message.number, "cr": message.credit, "tr": message.trace,
    }  # fmt: skip
    return {key: value for key, value in names.items() if value}


def _bad() -> list[dict[str, Any]]:
    header = pack({"t": "REQ", "id": _ID, "to": "metadata", "m": "images.get"})
    headers = {
        "a header that is not a map": pack(["REQ"]),
        "a header that is not msgpack": b"\xc1",
        "an empty header": b"",
        "bytes after the header": pack({"t": "PING"}) + b"\x00",
        "no type": pack({"id": _ID}),
        "an unknown type": pack({"t": "SHOUT"}),
        "a type that is not a string": pack({"t": 1}),
        "an id as text": pack({"t": "REQ", "id": "0123456789abcdef"}),
        "an actor's name as bytes": pack({"t": "REQ", "to": b"metadata"}),
        "a negative deadline": pack({"t": "REQ", "dl": -1}),
        "a deadline that is a boolean": pack({"t": "REQ", "dl": True}),
        "a deadline that is a float": pack({"t": "REQ", "dl": 1.5}),
        "a negative number in a stream": pack({"t": "PART", "nr": -1}),
        "a number in a stream that is a boolean": pack({"t": "EVT", "nr": True}),
        "a number in a stream as text": pack({"t": "PART", "nr": "1"}),
        "a name that is too long": pack({"t": "REQ", "to": "x" * (MAX_NAME + 1)}),
        "a key that is not a string": b"\x82\xa1t\xa4PING\x01\x01",
        "an extension type": b"\x82\xa1t\xa4PING\xa1x\xd4\x05\x00",
    }
    cases = {
        "nothing": [],
        "an empty message": [b""],
        "the signature alone": [SIGNATURE],
        "another signature": [b"MDPC02", header, b"\x80"],
        "another major version": [b"ACTD2", header, b"\x80"],
        "two empty frames in front": [b"", b"", SIGNATURE, header, b"\x80"],
        "too many buffers": [SIGNATURE, header, b"\x80", *([b""] * (MAX_BUFFERS + 1))],
        **{name: [SIGNATURE, packed, b"\x80"] for name, packed in headers.items()},
    }
    bodies = {
        "a body that is not msgpack": b"\xc1",
        "an empty body": b"",
        "a body cut short": pack({"name": "busybox"})[:-1],
        "two values": b"\x80\x80",
        "text that is not utf-8": b"\x81\xa1x\xa1\xff",
        "an extension in the body": b"\x81\xa1x\xd4\x05\x00",
        "a promise of 100 million elements": b"\xdd\x05\xf5\xe1\x00",
        "nested too deep": b"\x91" + _DEEP,
        "a map with a number for a key": b"\x81\x01\x01",
    }
    messages = [{"name": name, "frames": [frame.hex() for frame in frames]} for name, frames in cases.items()]
    return [
        *({**one, "refused": "message"} for one in messages),
        *(
            {"name": name, "frames": [SIGNATURE.hex(), header.hex(), body.hex()], "refused": "body"}
            for name, body in bodies.items()
        ),
    ]


def vectors() -> str:
    """The file of test vectors."""
    about = (
        "Frames in hex. good: what each says (header keys with bytes in hex, body as JSON), and canonical: "
        "how actord writes it, where that differs. bad: to be refused, the message or its body when read."
    )
    document = {"about": about, "protocol": SIGNATURE.decode(), "good": _good(), "bad": _bad()}
    return json.dumps(document, indent=1, ensure_ascii=True) + "\n"


def with_operations(text: str) -> str:
    """`text` with its section about operations replaced by the present one."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + operations() + after


if __name__ == "__main__":
    PROTOCOL.write_text(with_operations(PROTOCOL.read_text()))
    VECTORS.write_text(vectors())
