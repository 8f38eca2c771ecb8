"""The client for asyncio: requests, streams, and what people do most.

A router or an actor that dies is back within a second. Requests that may be repeated are repeated, streams
go on where they were, and only what is left uncertain becomes an error.
"""

import asyncio
import os
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from actord_client.errors import ConnectError, RequestError
from actord_client.link import Address, Link, LostError
from actord_client.wire import Message, new_id, unpack

CONNECTION: Final = "/run/actord/connection.json"
RETRY: Final = 0.05  # seconds
PATIENCE: Final = 10.0  # seconds for a router to come back, and for a stream that leads nowhere
LATE: Final = 1.0  # seconds after its deadline until an answer is given up
CREDIT: Final = 1 << 20
EVENTS: Final = 1000  # under way at once
GATHER: Final = 50  # milliseconds
PARENT: Final = re.compile(  # a `traceparent` (W3C Trace Context)
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
PIECE: Final = 65_536  # bytes of input in one request
Resume = Callable[[], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a stream; the last one is `final`, and its body is the result."""

    body: dict[str, Any]
    buffers: tuple[bytes, ...] = ()
    seq: int = 0
    final: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """What a container wrote: `stream` 1 or 2. The last one is empty and has the exit code."""

    stream: int
    bytes: bytes
    exit_code: int | None = None
    is_end: bool = False


class Client:
    """A connection that renews itself. For one event loop.

        async with Client() as actord:
            container = await actord.create("docker.io/library/busybox", ["echo", "hello"])

    Attributes:
        reconnections: how often the connection has been renewed.
        trace: what requests belong to: a trace id or a `traceparent`; may be set. That of the environment
            (TRACEPARENT) if it is one, else a new id.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = str(path or os.environ.get("ACTORD_CONNECTION", CONNECTION))
        self.reconnections = -1
        parent = os.environ.get("TRACEPARENT", "")
        self.trace = parent if PARENT.fullmatch(parent) else os.urandom(16).hex()
        self._link: Link | None = None
        self._renewing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Connect. Raises ConnectError."""
        self._link = await self._opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self.close()

    async def close(self) -> None:
        """Close the connection; doing it twice is fine."""
        if self._link is not None:
            self._link.close()

    @property
    def welcome(self) -> dict[str, Any]:
        """What the router said of itself: protocol, version, instance, node, features."""
        return self._link.welcome if self._link else {}

    async def request(
        self,
        op: str,
        body: dict[str, Any] | None = None,
        *,
        to: str,
        limit: float = 30.0,
        repeatable: bool = False,
        once: bool = False,
        buffers: Sequence[bytes] = (),
    ) -> dict[str, Any]:
        """Ask actor `to`; `limit` in seconds. Raises RequestError, ConnectError.

        What has not begun is tried again until `limit`, unless `once`; what may have happened only if it is
        `repeatable`, as docs/protocol.md says of the operation. A task that is cancelled cancels the request.
        """
        until = time.monotonic() + limit
        while True:
            try:
                return await self._ask(op, body or {}, to, until, buffers)
            except RequestError as error:
                safe = error.retryable and (error.outcome == "not_started" or repeatable)
                if once or not safe or error.outcome == "done" or time.monotonic() + RETRY > until:
                    raise
            await asyncio.sleep(RETRY)

    async def stream(
        self,
        op: str,
        body: dict[str, Any] | None = None,
        *,
        to: str,
        credit: int = CREDIT,
        resume: Resume | None = None,
    ) -> AsyncGenerator[Part, None]:
        """Ask for a stream; `credit` is what may be under way: bytes of buffers, or events.

        When the router or the actor dies, or an answer is lost on the way, it is asked for again, with the
        body that `resume` gives, or the same one. Closing it cancels the request. Raises RequestError,
        ConnectError.
        """
        since, body = time.monotonic(), body or {}
        while True:
            parts = self._streamed(op, body, to, credit)
            try:
                async for part in parts:
                    since = time.monotonic()
                    yield part
            except RequestError as error:
                over = error.final and error.code != "overloaded"
                if over or not error.retryable or time.monotonic() - since > PATIENCE:
                    raise
            else:
                return
            finally:
                await parts.aclose()
            await asyncio.sleep(RETRY)
            body = resume() if resume else body

    # One attempt

    async def _ask(
        self, op: str, body: dict[str, Any], to: str, until: float, buffers: Sequence[bytes]
    ) -> dict[str, Any]:
        asked, link, sent = new_id(), await self._current(), False
        answers, left = link.wait_for(asked), max(0.001, until - time.monotonic())
        header = {"t": "REQ", "id": asked, "to": to, "m": op, "dl": int(left * 1000) or 1, "tr": self.trace}
        try:
            async with asyncio.timeout(left + LATE):
                await link.send(header, body, buffers)
                sent = True
                return _result(await answers.get())
        except TimeoutError:
            text = f"{op}: no answer from {to} in {left:.3g} s"
            outcome = "unknown" if sent else "not_started"
            raise RequestError("deadline_exceeded", text, outcome=outcome, actor=to) from None
        except LostError as error:
            raise _lost(op, error) from error
        except asyncio.CancelledError:
            await link.cancel(asked)
            raise
        finally:
            link.forget(asked)

    async def _streamed(
        self, op: str, body: dict[str, Any], to: str, credit: int
    ) -> AsyncGenerator[Part, None]:
        asked, link, used, heard, open_ = new_id(), await self._current(), 0, 0, True
        answers = link.wait_for(asked)
        try:
            header = {"t": "REQ", "id": asked, "to": to, "m": op, "cr": credit, "tr": self.trace}
            await link.send(header, body)
            while True:
                message = await answers.get()
                heard += 1
                if message is not None and message.header.get("nr", heard) != heard:
                    raise RequestError(
                        "unavailable", f"{op}: an answer was lost on the way", outcome="unknown"
                    )
                if message is None or message.type not in ("PART", "EVT"):
                    open_ = False
                    yield Part(_result(message), final=True)
                    return
                part = Part(message.body, message.buffers, message.header.get("sq", 0))
                yield part
                used += sum(map(len, part.buffers)) if message.type == "PART" else _count(part)
                if used * 2 >= credit:
                    await link.send({"t": "CREDIT", "re": asked, "cr": used})
                    used = 0
        except LostError as error:
            open_ = False
            raise _lost(op, error) from error
        finally:
            link.forget(asked)
            if open_:
                await link.cancel(asked)

    async def _current(self) -> Link:
        """The connection, renewed if it broke. Raises ConnectError."""
        async with self._renewing:
            until = time.monotonic() + PATIENCE
            while self._link is None or self._link.is_over:
                if self._link is not None:
                    self._link.close()
                try:
                    self._link = await self._opened()
                except (ConnectError, LostError):
                    if time.monotonic() > until:
                        raise
                    await asyncio.sleep(RETRY)
            return self._link

    async def _opened(self) -> Link:
        link = Link(Address.read(self.path))
        await link.open()
        self.reconnections += 1
        return link

    # What people do most

    async def pull(
        self,
        reference: str,
        *,
        namespace: str = "default",
        progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """Fetch an image; `progress` gets ref, status, offset and total. Gives the image."""
        body = {"namespace": namespace, "reference": reference}
        started = await self.request("images.pull", body, to="supervisor", repeatable=True)
        result: dict[str, Any] = {}
        async for part in self.stream("transfers.attach", to=started["actor"]):
            if part.final:
                result = part.body
            elif progress:
                progress(part.body)
        return result

    async def create(
        self,
        image: str,
        args: list[str] | None = None,
        *,
        namespace: str = "default",
        name: str = "",
        **options: Any,
    ) -> "Container":
        """Record a container; `options` as in docs/protocol.md under "Options of a container"."""
        wanted = {**options, **({"args": args} if args is not None else {})}
        body = {"namespace": namespace, "image": image, "name": name, "options": wanted}
        made = await self.request("containers.create", body, to="metadata")
        return Container(self, made["id"], made["actor"])

    async def events(
        self, *, after: int = 0, follow: bool = True, gather: int = GATHER, **which: str
    ) -> AsyncGenerator[Part, None]:
        """Events past number `after`; `which`: namespace, topic, container_id.

        Where many come in `gather` milliseconds, they come together, which costs everybody less; 0 for never.
        """
        last = after

        def body() -> dict[str, Any]:
            return {**which, "after": last, "follow": follow, "gather": gather}

        stream = self.stream("events.subscribe", body(), to="events", credit=EVENTS, resume=body)
        try:
            async for part in stream:
                for event in _each(part):
                    last = event.seq
                    yield event
        finally:
            await stream.aclose()


def _count(part: Part) -> int:
    """How many events are in one message."""
    return len(part.body["numbers"]) if "numbers" in part.body else 1


def _each(part: Part) -> Iterable[Part]:
    if part.final:
        return []
    if "numbers" not in part.body:
        return [part]
    pairs = zip(part.body["numbers"], part.body["events"], strict=True)
    return [Part(unpack(packed), seq=number) for number, packed in pairs]


class Container:
    """One container, addressed by its actor."""

    def __init__(self, client: Client, id_: str, actor: str) -> None:
        self.client, self.id, self.actor = client, id_, actor

    async def _ask(self, op: str, body: dict[str, Any] | None = None, **how: Any) -> dict[str, Any]:
        return await self.client.request(op, body, to=self.actor, **{"repeatable": True, **how})

    async def start(self) -> None:
        """Start it; answered when it runs."""
        await self._ask("tasks.start", {"run": 1})

    async def write(self, data: bytes | Iterable[bytes], *, exec_id: str = "") -> None:
        """Its standard input, then the end of it. It is taken once, however often the connection breaks."""
        writer, offset = os.urandom(8).hex(), 0
        for chunk in [data] if isinstance(data, bytes) else data:
            for begin in range(0, len(chunk), PIECE):
                piece = chunk[begin : begin + PIECE]
                body = {"writer": writer, "offset": offset, "exec_id": exec_id}
                await self._ask("tasks.input", body, buffers=(piece,), limit=3600.0)
                offset += len(piece)
        await self._ask("tasks.close_io", {"exec_id": exec_id}, limit=3600.0)

    async def output(self, *, exec_id: str = "", follow: bool = True) -> AsyncGenerator[Output, None]:
        """Its output, nothing lost and nothing twice; the last one has the exit code."""
        have = {1: 0, 2: 0}

        def body() -> dict[str, Any]:
            return {"stdout": have[1], "stderr": have[2], "follow": follow, "exec_id": exec_id}

        stream = self.client.stream("tasks.output", body(), to=self.actor, resume=body)
        try:
            async for part in stream:
                if part.final:
                    yield Output(0, b"", part.body.get("exit_code"), is_end=True)
                    return
                data = b"".join(part.buffers)
                have[part.body["stream"]] = part.body["offset"] + len(data)
                yield Output(part.body["stream"], data)
        finally:
            await stream.aclose()

    async def exec(self, args: list[str], **options: Any) -> str:
        """Run a further process; gives its `exec_id`, for `output` and `write`."""
        exec_id = os.urandom(8).hex()
        await self._ask("tasks.exec", {"exec_id": exec_id, "args": args, **options})
        return exec_id

    async def wait(self) -> int | None:
        """Its exit code, once it has exited; None for unknown."""
        code: int | None = (await self._ask("tasks.wait", limit=7 * 86400.0))["exit_code"]
        return code

    async def stop(self, grace: float | None = None) -> None:
        """The stop signal, then SIGKILL after `grace` seconds."""
        await self._ask("tasks.stop", {"grace": grace}, limit=60.0 + (grace or 0))

    async def remove(self, *, force: bool = False) -> None:
        """Remove it and all that belongs to it. Its actor goes with it, at times before its answer."""
        try:
            await self._ask("containers.remove", {"force": force})
        except RequestError as error:
            if error.code != "not_found":
                raise


def _result(message: Message | None) -> dict[str, Any]:
    if message is None:
        raise LostError(sent=True)
    body = message.body
    if message.type == "ERR":
        raise RequestError.from_body(body, final=bool(message.header.get("fr")))
    return body if isinstance(body, dict) else {}


def _lost(op: str, error: LostError) -> RequestError:
    outcome = "unknown" if error.sent else "not_started"
    text = f"{op}: the connection broke before the answer; it may have been done"
    return RequestError("unavailable", text if error.sent else f"{op}: the connection broke", outcome=outcome)
