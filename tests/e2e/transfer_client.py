"""Transfers as `ctr` 2.x makes them: its calls in their order, its streams, its windows."""

from __future__ import annotations

import contextlib
import queue
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc

from transport.grpc.interface import message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway_api import Api

STREAMING: Final = "/containerd.services.streaming.v1.Streaming/Stream"
TRANSFER: Final = "containerd.services.transfer.v1.Transfer"
INTROSPECTION: Final = "containerd.services.introspection.v1.Introspection"
LEASES: Final = "containerd.services.leases.v1.Leases"
TYPES: Final = "containerd.types.transfer"
PIECE: Final = 32 << 10
WINDOW: Final = 64 << 10
ANY: Final = "google.protobuf.Any"


def of(kind: str, **fields: Any) -> Any:
    """One of the messages of a transfer."""
    return message(f"{TYPES}.{kind}")(**fields)


def packed(found: Any) -> Any:
    """By its bare name."""
    return message(ANY)(type_url=found.DESCRIPTOR.full_name, value=found.SerializeToString())


class Stream:
    """One that is open: acknowledged by the server."""

    def __init__(self, api: Api, name: str, *, first: Any = None) -> None:
        self.name = name
        self._outgoing: queue.SimpleQueue[Any] = queue.SimpleQueue()
        make = api.channel.stream_stream(
            STREAMING, lambda body: body.SerializeToString(), message(ANY).FromString
        )
        self.call: Any = make(iter(self._outgoing.get, None), metadata=api.header)
        self.call.add_done_callback(lambda _: self.end())  # grpcio has a thread that waits for more
        init = message("containerd.services.streaming.v1.StreamInit")(id=name)
        self._outgoing.put(packed(init) if first is None else first)
        assert next(self.call).type_url == "google.protobuf.Empty"

    def send(self, found: Any) -> None:
        self._outgoing.put(packed(found))

    def end(self) -> None:
        """Send no more."""
        self._outgoing.put(None)

    def received(self) -> Iterator[Any]:
        """What the server sends, until it ends the stream."""
        with contextlib.suppress(grpc.RpcError):  # a server that dies ends it, too
            for found in self.call:
                yield message(found.type_url).FromString(found.value)


@dataclass
class Client:
    """Makes transfers; `progress` is what it was told, `asked` for which hosts it was asked a login."""

    api: Api
    login: tuple[str, str] = ("", "")
    progress: list[Any] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def transfer(self, source: Any, target: Any) -> None:
        """With a stream for progress, which has ended when it is answered."""
        stream = Stream(self.api, "progress-1")
        follower = threading.Thread(target=lambda: self.progress.extend(stream.received()))
        follower.start()
        try:
            self.api.ask(
                TRANSFER,
                "Transfer",
                source=packed(source),
                destination=packed(target),
                options=message("containerd.services.transfer.v1.TransferOptions")(
                    progress_stream=stream.name
                ),
            )
        finally:
            follower.join(30)

    def registry(self, reference: str) -> Any:
        """A place in a registry, with a stream on which the client is asked for its login."""
        stream = Stream(self.api, "creds-1")

        def answer() -> None:
            for found in stream.received():
                self.asked.append(found.host)
                user, secret = self.login
                kind = 1 if user else 2  # credentials, or a token: the empty one is ctr's without --user
                stream.send(of("AuthResponse", authType=kind, username=user, secret=secret))

        threading.Thread(target=answer, daemon=True).start()
        resolver = of("RegistryResolver", auth_stream=stream.name, default_scheme="http")
        return of("OCIRegistry", reference=reference, resolver=resolver)

    def pull(self, reference: str, **store: Any) -> None:
        """`ctr images pull`."""
        self.api.ask(INTROSPECTION, "Server")
        lease = self.api.ask(LEASES, "Create", id="pull-1").lease
        platform = message("containerd.types.Platform")(os="linux", architecture="amd64")
        try:
            target = of(
                "ImageStore",
                name=reference,
                platforms=[platform],
                unpacks=[of("UnpackConfiguration", platform=platform)],
                all_metadata=True,
                **store,
            )
            self.within(lease.id).transfer(self.registry(reference), target)
        finally:
            self.api.ask(LEASES, "Delete", id=lease.id)

    def within(self, lease: str) -> Client:
        """The same under a lease."""
        return Client(self.api.within(lease=lease), self.login, self.progress, self.asked)

    def load(self, read: Callable[[int], bytes], **store: Any) -> None:
        """`ctr images import`: the client sends, as the server has room for it."""
        stream = Stream(self.api, "import-1")
        threading.Thread(target=sent, args=(stream, read), daemon=True).start()
        self.transfer(of("ImageImportStream", stream=stream.name), of("ImageStore", **store))

    def save(self, *names: str, **export: Any) -> bytes:
        """`ctr images export`: the server sends, as the client has room for it."""
        stream = Stream(self.api, "export-1")
        pieces: list[bytes] = []
        follower = threading.Thread(target=lambda: pieces.extend(taken(stream)))
        follower.start()
        references = [of("ImageReference", name=name) for name in names]
        source = of("ImageStore", extra_references=references)
        self.transfer(source, of("ImageExportStream", stream=stream.name, **export))
        follower.join(30)
        return b"".join(pieces)


def sent(stream: Stream, read: Callable[[int], bytes]) -> None:
    """Send all that `read` gives, as much at a time as there is room for."""
    room, updates = 0, stream.received()
    while True:
        while room <= 0:
            update = next(updates, None)
            if update is None:
                return
            room += update.update
        data = read(min(PIECE, room))
        if not data:
            stream.end()
            return
        stream.send(of("Data", data=data))
        room -= len(data)


def taken(stream: Stream) -> Iterator[bytes]:
    """All that is sent, never more at a time than there is said to be room for."""
    room = 0
    while True:
        while room < WINDOW:
            stream.send(of("WindowUpdate", update=WINDOW))
            room += WINDOW
        found = next(iter(stream.received()), None)
        if found is None:
            return
        room -= len(found.data)
        assert room >= 0, "more was sent than there was room for"
        yield found.data
