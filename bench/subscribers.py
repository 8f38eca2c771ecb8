"""Subscribers of events, many connections in one process, which count what they get: for bench/events.py.

Each looks at the numbers of its events only: they must grow, and in the end their count and sum are compared
with those that were published. The standard input names, by topic, the last number that is to come; until
then a subscriber that is slow has not read anything. What each has got is printed as JSON.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack

from transport.envelope import Envelope, request
from transport.zmtp import Framing, encode, opening

CREDIT: Final = 10_000  # events
LIMIT: Final = 100.0  # seconds
PIECE: Final = 1 << 20  # bytes read at once


@dataclass(eq=False)
class Subscriber:
    """One connection.

    Attributes:
        heard: how many events, and the sum of their numbers.
        faults: how many numbers have not grown.
        messages: in how many messages they came.
    """

    topic: str
    wish: dict[str, Any]
    slow: bool
    heard: list[int] = field(default_factory=lambda: [0, 0])
    last: int = 0
    faults: int = 0
    messages: int = 0
    over: float = 0.0
    error: str = ""

    def connect(self, address: str) -> None:
        """Connect and subscribe."""
        self._asked = request("events", "events.subscribe", self.wish, credit=CREDIT)
        self._framing, self._used = Framing(), 0
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(address)
        self.socket.sendall(opening())
        while not self._framing.shake_hands():
            self._framing.feed(self.socket.recv(64))
        self._send(self._asked)

    def _send(self, message: Envelope) -> None:
        self.socket.sendall(encode(message.to_frames()))

    def read(self) -> None:
        """Take what is there."""
        chunk = self.socket.recv(PIECE)
        if not chunk:
            self.error = "the router went away"
        self._framing.feed(chunk)
        while (frames := self._framing.message()) is not None:
            self._take(msgpack.unpackb(frames[1]), frames[2])

    def _take(self, header: dict[str, Any], body: bytes) -> None:
        if header["t"] != "EVT":
            self.error = "" if header["t"] == "PONG" else f"{header['t']}: {body[:300]!r}"
            return
        # What a batch has is told beside the events, which stay as they are until somebody wants them.
        numbers = msgpack.unpackb(body)["numbers"] if "gather" in self.wish else [header["sq"]]
        for number in numbers:
            self.faults += number <= self.last
            self.last = number
        self.heard = [self.heard[0] + len(numbers), self.heard[1] + sum(numbers)]
        self.messages += 1
        self._used += len(numbers)
        if self._used * 2 >= CREDIT:
            self._send(Envelope("CREDIT", re=self._asked.id, credit=self._used))
            self._used = 0

    def told(self) -> dict[str, Any]:
        """What it has got."""
        names = ("topic", "slow", "heard", "faults", "messages", "over", "error")
        return {name: getattr(self, name) for name in names}


def follow(subscribers: list[Subscriber]) -> None:
    """Until each has what was to come. Raises TimeoutError."""
    poll, awaited, end = selectors.DefaultSelector(), dict[str, int](), time.monotonic() + LIMIT
    poll.register(sys.stdin, selectors.EVENT_READ, None)
    for one in subscribers:
        if not one.slow:
            poll.register(one.socket, selectors.EVENT_READ, one)
    left = len(subscribers)
    while left:
        for key, _ in poll.select(1.0):
            if key.data is None:
                awaited = json.loads(os.read(0, 65536))
                poll.unregister(sys.stdin)
                for one in subscribers:
                    if one.slow:
                        poll.register(one.socket, selectors.EVENT_READ, one)
            else:
                key.data.read()
        for one in subscribers:
            done = awaited and (one.last >= awaited[one.topic] or one.error)
            if done and not one.over:
                one.over, left = time.time(), left - 1
        if time.monotonic() > end:
            raise TimeoutError(f"{left} subscribers still wait")


def main() -> None:
    """Of the address, and wishes as JSON: [topic, body, whether it is slow]."""
    address, wishes = sys.argv[1], json.loads(sys.argv[2])
    subscribers = [Subscriber(*one) for one in wishes]
    for one in subscribers:
        one.connect(address)
    print("ready", flush=True)
    try:
        follow(subscribers)
    finally:
        print(json.dumps([one.told() for one in subscribers]), flush=True)


if __name__ == "__main__":
    main()
