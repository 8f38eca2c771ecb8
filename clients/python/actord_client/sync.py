"""The client for programs without asyncio: the same, on an event loop in a thread of its own.

Any thread may call any method.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from actord_client import aio
from actord_client.aio import CREDIT, GATHER, Output, Part, Resume

T = TypeVar("T")


class Client:
    """A connection that renews itself.

    with Client() as actord:
        container = actord.create("docker.io/library/busybox", ["echo", "hello"])
    """

    def __init__(self, path: str | Path | None = None) -> None:
        """Connect. Raises ConnectError."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="actord", daemon=True)
        self._thread.start()
        try:
            self.aio = self.run(_open(path))
        except BaseException:
            self._end()
            raise

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run something of asyncio on this client's loop."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """Its items, one by one."""

        async def following() -> list[T]:
            try:
                return [await anext(items)]
            except StopAsyncIteration:
                return []

        try:
            while found := self.run(following()):
                yield found[0]
        finally:
            self.run(_close(items))

    def __enter__(self) -> Self:
        """It is connected already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; doing it twice is fine."""
        if self._thread.is_alive():
            self.run(self.aio.close())
        self._end()

    def _end(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    @property
    def welcome(self) -> dict[str, Any]:
        """What the router said of itself."""
        return self.aio.welcome

    @property
    def trace(self) -> str:
        """What requests belong to; may be set. As `aio.Client.trace`."""
        return self.aio.trace

    @trace.setter
    def trace(self, trace: str) -> None:
        self.aio.trace = trace

    @property
    def reconnections(self) -> int:
        """How often the connection has been renewed."""
        return self.aio.reconnections

    def request(
        self, op: str, body: dict[str, Any] | None = None, *, to: str, limit: float = 30.0,
        repeatable: bool = False, once: bool = False, buffers: Sequence[bytes] = (),
    ) -> dict[str, Any]:  # fmt: skip
        """As `aio.Client.request`."""
        how: dict[str, Any] = {"to": to, "limit": limit, "repeatable": repeatable, "once": once}
        return self.run(self.aio.request(op, body, buffers=buffers, **how))

    def stream(
        self, op: str, body: dict[str, Any] | None = None, *, to: str, credit: int = CREDIT,
        resume: Resume | None = None,
    ) -> Generator[Part, None, None]:  # fmt: skip
        """As `aio.Client.stream`."""
        return self.iterate(self.aio.stream(op, body, to=to, credit=credit, resume=resume))

    def pull(
        self,
        reference: str,
        *,
        namespace: str = "default",
        progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """As `aio.Client.pull`; `progress` is called in another thread."""
        return self.run(self.aio.pull(reference, namespace=namespace, progress=progress))

    def create(self, image: str, args: list[str] | None = None, **options: Any) -> "Container":
        """As `aio.Client.create`."""
        return Container(self, self.run(self.aio.create(image, args, **options)))

    def events(
        self, *, after: int = 0, follow: bool = True, gather: int = GATHER, **which: str
    ) -> Generator[Part, None, None]:
        """As `aio.Client.events`."""
        return self.iterate(self.aio.events(after=after, follow=follow, gather=gather, **which))


class Container:
    """One container, as `aio.Container`."""

    def __init__(self, client: Client, inner: aio.Container) -> None:
        self.client, self.aio, self.id, self.actor = client, inner, inner.id, inner.actor

    def start(self) -> None:
        """Start it; answered when it runs."""
        self.client.run(self.aio.start())

    def write(self, data: bytes | Iterable[bytes], *, exec_id: str = "") -> None:
        """Its standard input, then the end of it."""
        self.client.run(self.aio.write(data, exec_id=exec_id))

    def output(self, *, exec_id: str = "", follow: bool = True) -> Generator[Output, None, None]:
        """Its output; the last one has the exit code."""
        return self.client.iterate(self.aio.output(exec_id=exec_id, follow=follow))

    def exec(self, args: list[str], **options: Any) -> str:
        """Run a further process; gives its `exec_id`."""
        return self.client.run(self.aio.exec(args, **options))

    def wait(self) -> int | None:
        """Its exit code, once it has exited."""
        return self.client.run(self.aio.wait())

    def stop(self, grace: float | None = None) -> None:
        """The stop signal, then SIGKILL."""
        self.client.run(self.aio.stop(grace))

    def remove(self, *, force: bool = False) -> None:
        """Remove it and all that belongs to it."""
        self.client.run(self.aio.remove(force=force))


async def _open(path: str | Path | None) -> aio.Client:
    client = aio.Client(path)
    return await client.__aenter__()


async def _close(items: AsyncGenerator[T, None]) -> None:
    await items.aclose()
