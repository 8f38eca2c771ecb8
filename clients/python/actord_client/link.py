"""One connection: a ZeroMQ socket that is watched, so that its end is known at once.

ZeroMQ would connect again by itself and tell nobody, and what was asked of the old router would never be
answered. So a link that has lost its connection is over, and everybody who waits on it hears so.
"""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import zmq
import zmq.asyncio
from zmq.utils.monitor import parse_monitor_message

from actord_client.errors import ConnectError, ProtocolError
from actord_client.wire import MAX_MESSAGE, Message, decode, encode, new_id

SHAKE_HANDS: Final = 5.0  # seconds
QUEUE: Final = 10_000  # messages, either way
FULL: Final = 0.001  # seconds to wait for room in the queue
REFUSED: Final = (zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
OVER: Final = (
    zmq.EVENT_DISCONNECTED, zmq.EVENT_CLOSED, zmq.EVENT_CONNECT_RETRIED, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
)  # fmt: skip


class LostError(Exception):
    """The connection broke; `sent` says whether the request had been given to it."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__("the connection broke")
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Address:
    """Whom to call, and for a daemon on another host the keys (in Z85)."""

    endpoint: str
    server: str = ""
    public: str = ""
    secret: str = ""

    @classmethod
    def read(cls, path: str | Path) -> "Address":
        """From the daemon's own connection.json, or a file made by `actr keys new`. Raises ConnectError."""
        try:
            found = json.loads(Path(path).read_bytes())
            endpoint = str(found["endpoint"] if "endpoint" in found else found["endpoints"][0])
        except OSError as error:
            text = f"cannot read {path}: {error.strerror or error}; is actord running on this host?"
            raise ConnectError(text) from error
        except (ValueError, TypeError, LookupError) as error:
            raise ConnectError(f"{path} is no connection file: actr keys new makes one") from error
        return cls(endpoint, *(str(found.get(key, "")) for key in ("server", "public", "secret")))


class Link:
    """One connection, until it breaks. `welcome` is what the router said of itself."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.is_over = False
        self.welcome: dict[str, Any] = {}
        self._waiting: dict[bytes, asyncio.Queue[Message | None]] = {}
        self._context = zmq.asyncio.Context(io_threads=1)
        self._socket = self._context.socket(zmq.DEALER)
        for option, value in (
            (zmq.LINGER, 0), (zmq.IMMEDIATE, 1), (zmq.RECONNECT_IVL, -1), (zmq.MAXMSGSIZE, MAX_MESSAGE),
            (zmq.SNDHWM, QUEUE), (zmq.RCVHWM, QUEUE), (zmq.IPV6, 1), (zmq.HANDSHAKE_IVL, 4000),
            (zmq.TCP_KEEPALIVE, 1), (zmq.TCP_KEEPALIVE_IDLE, 1), (zmq.TCP_KEEPALIVE_INTVL, 1),
            (zmq.TCP_KEEPALIVE_CNT, 3), (zmq.TCP_MAXRT, 3000),
        ):  # fmt: skip
            self._socket.setsockopt(option, value)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_ALL)
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Connect, shake hands and greet. Raises ConnectError; the link is closed then."""
        try:
            self._connect()
            async with asyncio.timeout(SHAKE_HANDS):
                await self._shake_hands()
                self._tasks = [asyncio.ensure_future(self._receive()), asyncio.ensure_future(self._watch())]
                await self._greet()
        except TimeoutError as error:
            self.close()
            raise ConnectError(f"nobody answers at {self.address.endpoint}") from error
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        try:
            if self.address.server:
                self._socket.curve_serverkey = self.address.server.encode()
                self._socket.curve_publickey = self.address.public.encode()
                self._socket.curve_secretkey = self.address.secret.encode()
            self._socket.connect(self.address.endpoint)
        except (zmq.ZMQError, ValueError) as error:
            raise ConnectError(f"cannot connect to {self.address.endpoint}: {error}") from error

    async def _shake_hands(self) -> None:
        while (event := await self._event()) != zmq.EVENT_HANDSHAKE_SUCCEEDED:
            if event in REFUSED:
                text = f"the daemon at {self.address.endpoint} does not know this key: actr keys allow, there"
                raise ConnectError(text)
            if event in OVER:
                raise ConnectError(f"nobody answers at {self.address.endpoint}, or it has another key")

    async def _event(self) -> int:
        return int(parse_monitor_message(await self._monitor.recv_multipart())["event"])

    async def _greet(self) -> None:
        asked = new_id()
        answers = self.wait_for(asked)
        await self.send({"t": "HELLO", "id": asked}, {"minor": 0, "features": []})
        message = await answers.get()
        if message is None or message.type != "WELCOME":
            raise ConnectError(f"what answers at {self.address.endpoint} is not actord")
        self.welcome = message.body
        self.forget(asked)

    async def send(self, header: dict[str, Any], body: Any = None, buffers: Sequence[bytes] = ()) -> None:
        """Send one message, waiting for room. Raises LostError, ProtocolError."""
        frames = encode(header, body, buffers)
        while not self.is_over:
            try:
                await self._socket.send_multipart(frames, zmq.NOBLOCK)
            except zmq.Again:
                await asyncio.sleep(FULL)
            except zmq.ZMQError as error:
                raise LostError(sent=False) from error
            else:
                return
        raise LostError(sent=False)

    async def cancel(self, asked: bytes) -> None:
        """Say that `asked` is no longer wanted; whether that is heard makes no difference here."""
        with contextlib.suppress(LostError):
            await self.send({"t": "CANCEL", "re": asked})

    def wait_for(self, asked: bytes) -> "asyncio.Queue[Message | None]":
        """Where the messages about `asked` will arrive; None there says that the link is over."""
        return self._waiting.setdefault(asked, asyncio.Queue())

    def forget(self, asked: bytes) -> None:
        """Whatever comes about `asked` from now on is dropped."""
        self._waiting.pop(asked, None)

    async def _receive(self) -> None:
        while True:
            frames = await self._socket.recv_multipart()
            with contextlib.suppress(ProtocolError):
                message = decode(frames)
                queue = self._waiting.get(message.header.get("re", b""))
                if queue is not None:
                    queue.put_nowait(message)

    async def _watch(self) -> None:
        while await self._event() not in OVER:
            pass
        self.is_over = True
        for queue in self._waiting.values():  # behind what has come before the end
            queue.put_nowait(None)

    def close(self) -> None:
        """Close the connection; doing it twice is fine."""
        self.is_over = True
        for task in self._tasks:
            task.cancel()
        for queue in self._waiting.values():
            queue.put_nowait(None)
        self._waiting.clear()
        with contextlib.suppress(zmq.ZMQError):
            self._socket.disable_monitor()
        self._context.destroy(linger=0)
