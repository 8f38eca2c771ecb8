"""Somebody on the way: passes connections on, and can drop, double and swap what is said on them.

    python -m chaos.proxy 10.77.0.101:7402 10.77.0.2:7400
    frames drop 0.01            of the frames with messages, one in a hundred is left out
    frames duplicate 0.01       said twice
    frames reorder 0.01         said after the next one
    bytes drop 0.01             the same with what TCP happens to bring, wherever frames begin
    pass                        all as it was
    count                       what was done so far, as JSON

reads its commands from standard input, one a line, and answers each with a line; it ends with its input.
Frames are those of ZMTP 3 (https://rfc.zeromq.org/spec/23/), after the handshake: their bodies are
encrypted (CURVE), so who is on the way sees where one begins and how long it is, and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
from collections import Counter
from dataclasses import dataclass, field

GREETING = 64  # bytes
LONG = 0x02
MESSAGE = b"\x07MESSAGE"
MOST_FRAME = 64 << 20
CHUNK = 1 << 16
KINDS = ("drop", "duplicate", "reorder")


@dataclass
class Mischief:
    """What is to be done, and what has been.

    Attributes:
        what: `frames`, `bytes`, or empty for nothing.
        kind: drop, duplicate or reorder.
        share: of how many, 0 to 1.
    """

    what: str = ""
    kind: str = ""
    share: float = 0.0
    done: Counter[str] = field(default_factory=Counter)
    dice: random.Random = field(default_factory=lambda: random.Random(1))

    def strikes(self, what: str) -> str:
        """What happens to the next one; mostly nothing."""
        if what != self.what or self.dice.random() >= self.share:
            return ""
        self.done[f"{what} {self.kind}"] += 1
        return self.kind

    def obey(self, line: str) -> str:
        """Take a command; gives the answer. Raises ValueError."""
        words = line.split()
        if words == ["count"]:
            return json.dumps(self.done)
        if words == ["pass"]:
            self.what = ""
            return "ok"
        what, kind, share = words
        if what not in ("frames", "bytes") or kind not in KINDS or not 0 <= float(share) <= 1:
            raise ValueError
        self.what, self.kind, self.share = what, kind, float(share)
        return "ok"


class Direction:
    """One way of one connection."""

    def __init__(self, mischief: Mischief, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        self._mischief, self._source, self._sink = mischief, source, sink
        self._held = b""

    async def run(self) -> None:
        """Until one end hangs up."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError):
            await self._greet()
            while not self._mischief.what.startswith("bytes"):
                frame = await self._frame()
                await self._pass(frame, "frames" if MESSAGE in frame[:17] else "")
            while piece := await self._source.read(CHUNK):
                await self._pass(piece, "bytes")
        self._sink.close()

    async def _greet(self) -> None:
        """Each end says a part of it, and waits for the other's."""
        left = GREETING
        while left and (piece := await self._source.read(left)):
            await self._pass(piece, "")
            left -= len(piece)

    async def _frame(self) -> bytes:
        """Flags, length in one byte or eight, body. Raises ValueError for one that has no end."""
        head = await self._source.readexactly(1)
        head += await self._source.readexactly(8 if head[0] & LONG else 1)
        length = int.from_bytes(head[1:], "big")
        if length > MOST_FRAME:
            raise ValueError
        return head + await self._source.readexactly(length)

    async def _pass(self, piece: bytes, what: str) -> None:
        kind = self._mischief.strikes(what) if what else ""
        if kind == "reorder" and not self._held:
            self._held = piece
            return
        if kind != "drop":
            self._sink.write(piece)
        if kind == "duplicate":
            self._sink.write(piece)
        if self._held:
            self._sink.write(self._held)
            self._held = b""
        await self._sink.drain()


async def serve(address: str, to: str) -> None:
    """Pass on what comes at `address`; obey what comes on standard input, until that ends."""
    mischief, (host, _, port) = Mischief(), to.rpartition(":")

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mischief.done["connections"] += 1
        try:
            there, back = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        ways = (Direction(mischief, reader, back), Direction(mischief, there, writer))
        await asyncio.gather(*(way.run() for way in ways))

    own, _, number = address.rpartition(":")
    server = await asyncio.start_server(accept, own, int(number))
    orders = asyncio.StreamReader()
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    print("ok", flush=True)
    async with server:
        while line := await orders.readline():
            try:
                print(mischief.obey(line.decode()), flush=True)
            except ValueError:
                print(f"no such command; see the beginning of {__file__}", flush=True)
    pipe.close()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:3]))
