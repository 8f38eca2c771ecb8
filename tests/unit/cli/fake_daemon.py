"""A daemon that answers as it was told to: real ZMTP through ZeroMQ's ROUTER, everything else scripted.

Requests are checked against actors/messages/, so that a test of the command line fails when the command
line asks for something that no actor understands.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import zmq
from msgspec.structs import replace

from actors.messages import OPERATIONS
from transport.envelope import Envelope, answer, failure, parse, part
from transport.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Handler = Callable[["Asked"], None]

WELCOME = {"protocol": 1, "version": "9.9", "instance": "i1", "node": "n1", "features": []}


@dataclass
class Asked:
    """A request in the hands of a script."""

    daemon: FakeDaemon
    envelope: Envelope

    @property
    def op(self) -> str:
        return self.envelope.op

    @property
    def to(self) -> str:
        return self.envelope.to

    @property
    def body(self) -> dict[str, Any]:
        return self.envelope.value()

    def fin(self, body: Any = None, *, number: int = 0) -> None:
        self._send(replace(answer(self.envelope, {} if body is None else body), number=number))

    def err(self, code: str, text: str = "it went wrong", *, by: str = "", **more: Any) -> None:
        """An error; `by` names the actor that says so, otherwise the router does."""
        error = RemoteError(code, text, **more)
        self._send(replace(failure(self.envelope, error), fr=by))

    def part(self, body: Any, *buffers: bytes, number: int = 0) -> None:
        self._send(part(self.envelope, body, *buffers, number=number))

    def output(self, stream: int, offset: int, content: bytes, at: int = 0, *, number: int = 0) -> None:
        self.part({"stream": stream, "offset": offset, "at": at}, content, number=number)

    def event(self, seq: int, body: Any, *, number: int = 0) -> None:
        self._send(replace(part(self.envelope, body, seq=seq, number=number), type="EVT"))

    def _send(self, message: Envelope) -> None:
        self.daemon.send(self.envelope.fr, message)


@dataclass
class FakeDaemon:
    """Serves until `close`. What a script does, it does in the daemon's thread.

    Attributes:
        on: what to do for each operation: one script for all times, or a list, the last one staying.
        asked: every request that came.
        told: every other message (HELLO, CREDIT, CANCEL).
    """

    path: Path
    on: dict[str, Handler | list[Handler]] = field(default_factory=dict)
    on_credit: Callable[[Envelope], None] | None = None
    asked: list[Asked] = field(default_factory=list)
    told: list[Envelope] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _todo: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)

    def __post_init__(self) -> None:
        self._context = zmq.Context()
        self._wake = self._context.socket(zmq.PAIR)
        self._woken = self._context.socket(zmq.PAIR)
        self._woken.bind("inproc://wake")
        self._wake.connect("inproc://wake")
        self._router = self._bind()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _bind(self) -> zmq.Socket[bytes]:
        router = self._context.socket(zmq.ROUTER)
        router.setsockopt(zmq.LINGER, 0)
        router.bind(f"ipc://{self.path}")
        return router

    # For tests

    def ops(self) -> list[str]:
        return [asked.op for asked in self.asked]

    def bodies(self, op: str) -> list[dict[str, Any]]:
        return [asked.body for asked in self.asked if asked.op == op]

    def answers(self, op: str, body: Any) -> None:
        self.on[op] = lambda asked: asked.fin(body)

    def refuses(self, op: str, code: str, text: str = "it went wrong", **more: Any) -> None:
        self.on[op] = lambda asked: asked.err(code, text, **more)

    def close(self) -> None:
        self._todo.put("stop")
        self._wake.send(b"")
        self._thread.join()
        self._context.destroy(linger=0)
        self.path.unlink(missing_ok=True)

    # For scripts, in the daemon's thread

    def send(self, address: str, message: Envelope) -> None:
        self._router.send_multipart([bytes.fromhex(address), *message.to_frames()])

    def die(self) -> None:
        """The router is killed and started again."""
        self._router.close(linger=0)
        self._router = self._bind()

    def _run(self) -> None:
        while True:
            poller = zmq.Poller()
            poller.register(self._router, zmq.POLLIN)
            poller.register(self._woken, zmq.POLLIN)
            ready = dict(poller.poll())
            if self._woken in ready:
                return
            peer, *frames = self._router.recv_multipart()
            self._take(replace(parse(frames), fr=peer.hex()))

    def _take(self, message: Envelope) -> None:
        if message.type == "REQ":
            asked = Asked(self, message)
            self.asked.append(asked)
            self._check(asked)
            self._script(message.op)(asked)
            return
        self.told.append(message)
        if message.type == "HELLO":
            hello = Envelope("WELCOME", re=message.id, body=answer(message, WELCOME).body)
            self.send(message.fr, hello)
        elif message.type == "CREDIT" and self.on_credit:
            self.on_credit(message)

    def _script(self, op: str) -> Handler:
        script = self.on.get(op, lambda asked: asked.err("not_implemented", f"no script for {op}"))
        if callable(script):
            return script
        return script.pop(0) if len(script) > 1 else script[0]

    def _check(self, asked: Asked) -> None:
        known = OPERATIONS.get(asked.op)
        if known is None:
            self.problems.append(f"there is no operation {asked.op}")
            return
        if known.owner not in ("any", asked.to.partition("/")[0]):
            self.problems.append(f"{asked.op} belongs to {known.owner}, not to {asked.to}")
        try:
            msgspec.convert(asked.body, known.body)
        except msgspec.ValidationError as error:
            self.problems.append(f"{asked.op}: {error}")
        unknown = set(asked.body) - set(known.body.__dataclass_fields__)
        if unknown:
            self.problems.append(f"{asked.op} has no fields {unknown}")
