"""Checks clients in any language, and servers, against docs/protocol.md.

    bin/conformance client COMMAND...   the vectors of docs/protocol: COMMAND reads
                                        and writes hex (clients/README.md)
    bin/conformance server FILE         a running actord, by a connection file of
                                        actr keys new: what it must answer, and
                                        what it must refuse

Exit code: 0 when all is well, 1 with a line for each fault, 2 wrong usage.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgpack
import zmq

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "clients/python"))

from actord_client.link import Address  # noqa: E402  # beside this file, not installed
from actord_client.wire import decode  # noqa: E402

VECTORS: Final = ROOT / "docs/protocol/vectors.json"
PATIENCE: Final = 10  # seconds


# Clients


def check_client(command: list[str]) -> list[str]:
    """What is wrong with a client whose program is `command`; empty when it passes every vector."""
    known = json.loads(VECTORS.read_text())
    cases = [*known["good"], *known["bad"]]
    lines = "".join(" ".join(frame or "-" for frame in case["frames"]) + "\n" for case in cases)
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60, check=False)
    answers = done.stdout.splitlines()
    if done.returncode or len(answers) != len(cases):
        return [
            f"{len(answers)} answers to {len(cases)} messages, exit {done.returncode}: {done.stderr[-500:]}"
        ]
    return [fault for case, said in zip(cases, answers, strict=True) for fault in _faults(case, said)]


def _faults(case: dict[str, Any], said: str) -> Iterator[str]:
    if "refused" in case:
        if said != f"refused {case['refused']}":
            yield f"{case['name']}: must be refused ({case['refused']}), said {said[:200]!r}"
        return
    word, *frames = said.split()
    if word != "ok":
        yield f"{case['name']}: said {said[:200]!r}"
        return
    want = case["canonical"] or case["frames"]
    got = ["" if frame == "-" else frame for frame in frames]
    # The order of a map's keys is a language's own business; everything else is not.
    if len(want) != len(got) or _values(want) != _values(got):
        yield f"{case['name']}: understood as {got}, must be {want}"


def _values(frames: list[str]) -> list[Any]:
    raw = [bytes.fromhex(frame) for frame in frames]
    return [raw[0], *(_typed(msgpack.unpackb(frame)) for frame in raw[1:3]), *raw[3:]]


def _typed(value: Any) -> Any:
    """With types, so that 1 and true differ, and a map's order does not."""
    if isinstance(value, dict):
        return {key: _typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_typed(inner) for inner in value]
    return (type(value).__name__, value)


# Servers


class Door:
    """A bare socket to a server, with the protocol's frames and nothing that repairs mistakes."""

    def __init__(self, address: Address) -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.RCVTIMEO, PATIENCE * 1000)
        if address.server:
            self.socket.curve_serverkey = address.server.encode()
            self.socket.curve_publickey = address.public.encode()
            self.socket.curve_secretkey = address.secret.encode()
        self.socket.connect(address.endpoint)

    def say(self, header: dict[str, Any], body: Any = None) -> None:
        """Send one message."""
        self.socket.send_multipart(
            [b"ACTD1", msgpack.packb(header), msgpack.packb({} if body is None else body)]
        )

    def hear(self, asked: bytes = b"") -> tuple[str, Any]:
        """Type and body of the next message that concerns `asked`, or nothing in particular."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:  # a server asks now and then whether we are there
            message = decode(self.socket.recv_multipart())
            if message.header.get("re", b"") == asked and message.type != "PONG":
                return message.type, message.body
        raise zmq.Again

    def ask(self, to: str, op: str, body: Any = None, **header: Any) -> tuple[str, Any]:
        """A request, and its first answer."""
        asked = self.begin(to, op, body, **header)
        return self.hear(asked)

    def begin(self, to: str, op: str, body: Any = None, **header: Any) -> bytes:
        """A request; gives its id."""
        asked = os.urandom(16)
        self.say({"t": "REQ", "id": asked, "to": to, "m": op, **header}, body)
        return asked

    def lives(self) -> bool:
        """Whether a ping is answered."""
        asked = os.urandom(16)
        self.say({"t": "PING", "id": asked})
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            message = decode(self.socket.recv_multipart())
            if message.type == "PONG" and message.header.get("re") == asked:
                return True
        raise zmq.Again

    def close(self) -> None:
        """Close it."""
        self._context.destroy(linger=0)


def check_server(path: str) -> list[str]:
    """What is wrong with the server that a connection file names; empty when it does all that is asked."""
    address = Address.read(path)
    faults = []
    for check in SERVER_CHECKS:
        door = Door(address)
        try:
            faults += [f"{check.__name__.strip('_')}: {fault}" for fault in check(door, address)]
        except zmq.Again:
            faults.append(f"{check.__name__.strip('_')}: no answer within {PATIENCE} s")
        finally:
            door.close()
    return faults


def _error(answer: tuple[str, Any], code: str) -> Iterator[str]:
    kind, body = answer
    if kind != "ERR" or body.get("code") != code:
        yield f"must be refused with {code}, answered {kind} {body!r}"[:300]
    elif not {"msg", "retryable", "outcome"} <= set(body) or "\n" in body["msg"]:
        yield f"an error without one line of text, retryable or outcome: {body!r}"[:300]


def _greeting(door: Door, _: Address) -> Iterator[str]:
    asked = os.urandom(16)
    door.say({"t": "HELLO", "id": asked}, {"minor": 0, "features": []})
    kind, body = door.hear(asked)
    if kind != "WELCOME" or body.get("protocol") != 1 or not {"version", "instance", "node"} <= set(body):
        yield f"answered {kind} {body!r}"


def _malformed_messages(door: Door, _: Address) -> Iterator[str]:
    for case in json.loads(VECTORS.read_text())["bad"]:
        frames = [bytes.fromhex(frame) for frame in case["frames"]]
        if case["refused"] == "message" and frames:
            door.socket.send_multipart(frames)
            yield from (f"{case['name']}: {fault}" for fault in _error(door.hear(), "invalid_argument"))
    if not door.lives():
        yield "the connection did not stay"


def _malformed_bodies(door: Door, _: Address) -> Iterator[str]:
    for case in json.loads(VECTORS.read_text())["bad"]:
        if case["refused"] == "body":
            frames = [bytes.fromhex(frame) for frame in case["frames"]]
            door.socket.send_multipart(frames)
            answer = door.hear(msgpack.unpackb(frames[1])["id"])
            yield from (f"{case['name']}: {fault}" for fault in _error(answer, "invalid_argument"))


def _who_is_not_there(door: Door, address: Address) -> Iterator[str]:
    """From afar, what nobody knows is what no role may."""
    yield from _error(door.ask("nobody", "images.get"), "not_found")
    code = "permission_denied" if address.server else "not_implemented"
    yield from _error(door.ask("metadata", "images.dance"), code)
    yield from _error(door.ask("metadata", "images.get", {"namespace": "default"}), "invalid_argument")
    yield from _error(
        door.ask("metadata", "images.list", {"namespace": "default"}, inc=1 << 40), "unavailable"
    )
    if door.ask("router", "router.ping") != ("FIN", {}):
        yield "router.ping is not answered"


def _what_is_not_known_is_ignored(door: Door, _: Address) -> Iterator[str]:
    kind, _ = door.ask(
        "metadata", "images.list", {"namespace": "default", "zz": 1}, zz=[1, {}], fr="metadata/1"
    )
    if kind != "FIN":
        yield f"unknown keys, and a sender that claims to be another: {kind}"


def _an_id_is_used_once(door: Door, _: Address) -> Iterator[str]:
    asked = door.begin("events", "events.subscribe", {"follow": True, "topic": "/none"}, cr=1)
    door.say({"t": "REQ", "id": asked, "to": "router", "m": "router.ping"})
    if door.hear(asked)[0] != "FIN":  # the router's own operations wait for nothing
        yield "router.ping"
    door.say({"t": "REQ", "id": asked, "to": "metadata", "m": "namespaces.list"})
    yield from _error(door.hear(asked), "invalid_argument")
    door.begin("metadata", "namespaces.list", id=b"")
    yield from _error(door.hear(), "invalid_argument")


def _deadlines(door: Door, _: Address) -> Iterator[str]:
    answer = door.ask("events", "events.subscribe", {"follow": True, "topic": "/none"}, cr=1, dl=200)
    yield from _error(answer, "deadline_exceeded")


def _credit_and_cancel(door: Door, _: Address) -> Iterator[str]:
    """As many events as there is credit for; each number higher; one final answer to a cancel."""
    asked = door.begin("events", "events.subscribe", {"follow": True}, cr=2)
    numbers = [door.hear(asked)[1]["seq"] for _ in range(2)]
    if door.lives() and door.socket.poll(300) and decode(door.socket.recv_multipart()).type == "EVT":
        yield "more events than there was credit for"
    door.say({"t": "CREDIT", "re": asked, "cr": 1})
    numbers.append(door.hear(asked)[1]["seq"])
    if sorted(set(numbers)) != numbers:
        yield f"numbers of events: {numbers}"
    door.say({"t": "CANCEL", "re": asked})
    kind, _ = door.hear(asked)
    if kind not in ("FIN", "ERR"):
        yield f"a cancelled stream was answered {kind}"
    resumed = door.begin("events", "events.subscribe", {"after": numbers[0]}, cr=1)
    if door.hear(resumed)[1]["seq"] != numbers[1]:
        yield "an event was lost, or came twice, at a resumption"


def _an_empty_frame_in_front_is_skipped(door: Door, _: Address) -> Iterator[str]:
    asked = os.urandom(16)
    door.socket.send_multipart([b"", b"ACTD1", msgpack.packb({"t": "PING", "id": asked})])
    if not door.lives():
        yield "the connection did not stay"


SERVER_CHECKS: Final = (
    _greeting, _malformed_messages, _malformed_bodies, _who_is_not_there, _what_is_not_known_is_ignored,
    _an_id_is_used_once, _deadlines, _credit_and_cancel, _an_empty_frame_in_front_is_skipped,
)  # fmt: skip


def main(words: list[str]) -> int:
    """0 when all is well, 1 with a line for each fault."""
    match words:
        case ["client", *command] if command:
            faults = check_client(command)
        case ["server", path]:
            faults = check_server(path)
        case ["-h" | "--help"]:
            print(__doc__)
            return 0
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    print("\n".join(faults) or "conforms")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
