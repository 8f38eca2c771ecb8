"""What comes out of a socket: values, messages, and what the router makes of them.

Several frames, and several messages, are one input: each frame with its length before it, in two bytes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from transport.codec import pack, unpack
from transport.envelope import Envelope, parse
from transport.errors import ProtocolError
from transport.peer import Peer
from transport.switch import Switch
from transport.zmtp import MAX_PARTS, encode, opening

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "clients/python"))

from actord_client import errors, wire  # noqa: E402  # beside the rest, not installed

if TYPE_CHECKING:
    from collections.abc import Callable

PEERS: Final = ("~00", "~01", "metadata/1", "metadata/2", "supervisor/1")
MESSAGES: Final = 8
WHEN: Final = 100.0


def value(data: bytes) -> None:
    """A msgpack value: written again, it says the same."""
    packed = pack(unpack(data))
    assert pack(unpack(packed)) == packed


def envelope(data: bytes) -> None:
    """A message: written again, it says the same; who sent it, it does not say itself."""
    message = parse(_frames(data))
    assert parse(message.to_frames()) == message
    assert parse(_frames(data), "~00").fr == "~00"
    message.value()


def two_readers(data: bytes) -> None:
    """The daemon and the client for Python, which share no line, read the same out of the same frames."""
    frames = _frames(data)
    ours, theirs = _ours(frames), _theirs(frames)
    assert ours == theirs, (ours, theirs)


def _ours(frames: list[bytes]) -> str:
    try:
        message = parse(frames)
    except ProtocolError:
        return "message"
    try:
        body = pack(message.value())
    except ProtocolError:
        return "body"
    said = {
        name: getattr(message, name) for name in ("id", "re", "to", "fr", "inc", "deadline", "seq", "credit")
    }
    return repr((message.type, message.op, message.key, message.trace, said, body, message.buffers))


def _theirs(frames: list[bytes]) -> str:
    try:
        message = wire.decode(frames)
    except errors.ProtocolError:
        return "message"
    try:
        body = pack(message.body)
    except errors.ProtocolError:
        return "body"
    got = message.header.get
    said = {
        "id": got("id", b""), "re": got("re", b""), "to": got("to", ""), "fr": got("fr", ""),
        "inc": got("inc", 0), "deadline": got("dl", 0), "seq": got("sq", 0), "credit": got("cr", 0),
    }  # fmt: skip
    words = (message.type, got("m", ""), got("ik", ""), got("tr", ""))
    return repr((*words, said, body, message.buffers))


def router(data: bytes) -> None:
    """Messages of several peers, one after the other: none is answered more often than it was asked."""
    switch = Switch(0.0, {"protocol": 1})
    switch.told = True
    asked: list[tuple[str, bytes]] = []
    ended: list[tuple[str, bytes]] = []
    for at, message in enumerate(_messages(data)):
        peer = PEERS[data[at % len(data)] % len(PEERS)]
        try:
            sends = switch.receive(peer, message.forwarded(peer), WHEN + at)
        except (ProtocolError, KeyError, ValueError, TypeError):  # what the socket's loop answers
            continue
        if message.type == "REQ":
            asked.append((peer, message.id))
        ended += [(to, sent.re) for to, sent in sends if sent.type in ("FIN", "ERR")]
    ended += [(to, sent.re) for to, sent in switch.expire(WHEN * 1e9)[0]]
    for one in set(ended):
        assert ended.count(one) <= asked.count(one), one


def door(data: bytes) -> None:
    """What a peer sends over the Unix socket, in one piece or in two: the same comes of it."""
    whole, parted = _heard([data]), _heard([data[: len(data) // 2], data[len(data) // 2 :]])
    assert whole == parted, (whole, parted)


def _heard(chunks: list[bytes]) -> tuple[list[list[bytes]], bool, bytes]:
    """The messages of one connection, whether it had to be closed, and what is written back."""
    peer, heard, closed = Peer(), [], False
    try:
        for chunk in chunks:
            peer.feed(chunk)
            while (frames := peer.message()) is not None:
                heard.append(frames)
    except ProtocolError:
        closed = True
    assert all(0 < len(frames) <= MAX_PARTS + 1 for frames in heard)
    for frames in heard:
        peer.queue(frames)
    written = b"".join(map(bytes, peer.batch()))
    return heard, closed, written


def _messages(data: bytes) -> list[Envelope]:
    """Runs of frames that begin with the signature; what is no message is left out."""
    runs: list[list[bytes]] = []
    for frame in _frames(data):
        if frame == b"ACTD1" or not runs:
            runs.append([])
        runs[-1].append(frame)
    found = []
    for run in runs[:MESSAGES]:
        try:
            found.append(parse(run))
        except ProtocolError:
            continue
    return found


def _frames(data: bytes) -> list[bytes]:
    frames, at = [], 0
    while at + 2 <= len(data) and len(frames) < 64:
        size = int.from_bytes(data[at : at + 2], "big")
        frames.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return frames


def _written(frames: list[bytes]) -> bytes:
    return b"".join(len(frame).to_bytes(2, "big") + frame for frame in frames)


def _vectors() -> list[list[bytes]]:
    known = json.loads((ROOT / "docs/protocol/vectors.json").read_text())
    return [[bytes.fromhex(frame) for frame in case["frames"]] for case in known["good"]]


_GOOD: Final = _vectors()
_TALK: Final = [
    Envelope("HELLO", id=bytes(16)).to_frames(),
    Envelope("REQ", id=bytes(16), to="metadata", op="images.get", deadline=5).to_frames(),
    Envelope("FIN", re=bytes(16), to="~00").to_frames(),
    Envelope("CANCEL", re=bytes(16)).to_frames(),
]
FRAMES: Final[dict[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]]] = {
    "value": (
        value,
        tuple(frame for frames in _GOOD for frame in frames[1:3] if frame and frame != b"ACTD1"),
    ),
    "envelope": (envelope, tuple(map(_written, _GOOD))),
    "two_readers": (two_readers, tuple(map(_written, _GOOD))),
    "door": (
        door,
        tuple(
            opening(identity) + b"".join(map(encode, messages)) + b"\x04\x0a\x04PING\0\1abc"
            for identity, messages in ((b"", _GOOD), (b"metadata/1", _TALK))
        ),
    ),
    "router": (router, (b"".join(map(_written, _TALK)), b"".join(map(_written, _GOOD)))),
}
"""As TARGETS."""
