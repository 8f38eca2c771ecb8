"""containerd's API as a client in Python speaks it: any method of any service, by name."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from daemon import Daemon, running, wait_until

from transport.grpc import interface
from transport.grpc.interface import message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TASKS: Final = "containerd.services.tasks.v1.Tasks"
CONTAINERS: Final = "containerd.services.containers.v1.Containers"
EVENTS: Final = "containerd.services.events.v1.Events"
MOUNTS: Final = (
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "gid=5"]},
)
STOPPED: Final = 3
LIMIT: Final = 60.0  # seconds for one call


@dataclass
class Api:
    """Calls of one client, in one namespace and, if it says so, under one lease."""

    channel: grpc.Channel
    namespace: str = "default"
    lease: str = ""
    traceparent: str = ""

    @classmethod
    def at(cls, socket: Path) -> Api:
        """A client of its own."""
        return cls(grpc.insecure_channel(f"unix:{socket}"))

    def within(self, *, namespace: str = "", lease: str = "") -> Api:
        """The same client with other headers."""
        return replace(self, namespace=namespace or self.namespace, lease=lease)

    @property
    def header(self) -> list[tuple[str, str]]:
        names = {"containerd-namespace": self.namespace, "containerd-lease": self.lease}
        more = {"traceparent": self.traceparent}
        return [(name, value) for name, value in (names | more).items() if value]

    def ask(self, service: str, method: str, **fields: Any) -> Any:
        """One call with one answer."""
        asked, answer = _types(service, method)
        call = self.channel.unary_unary(f"/{service}/{method}", _packed, answer.FromString)
        return call(asked(**fields), metadata=self.header, timeout=LIMIT, wait_for_ready=True)

    def begin(self, service: str, method: str, **fields: Any) -> Any:
        """As `ask`, without waiting: the answer to come."""
        asked, answer = _types(service, method)
        call = self.channel.unary_unary(f"/{service}/{method}", _packed, answer.FromString)
        return call.future(asked(**fields), metadata=self.header, timeout=LIMIT, wait_for_ready=True)

    def stream(self, service: str, method: str, *, limit: float | None = LIMIT, **fields: Any) -> Any:
        """One call with any number of answers, as they come."""
        asked, answer = _types(service, method)
        call = self.channel.unary_stream(f"/{service}/{method}", _packed, answer.FromString)
        return call(asked(**fields), metadata=self.header, timeout=limit, wait_for_ready=True)

    def converse(self, service: str, method: str, requests: Iterable[dict[str, Any]]) -> Iterator[Any]:
        """Messages both ways."""
        asked, answer = _types(service, method)
        call = self.channel.stream_stream(f"/{service}/{method}", _packed, answer.FromString)
        found = call((asked(**one) for one in requests), metadata=self.header, timeout=LIMIT)
        yield from found

    def fails(self, service: str, method: str, **fields: Any) -> tuple[str, str]:
        """Status and text of a call that fails."""
        return refusal(lambda: self.ask(service, method, **fields))

    def task(self, method: str, **fields: Any) -> Any:
        """One of the task service."""
        return self.ask(TASKS, method, **fields)

    def refused(self, method: str, **fields: Any) -> tuple[str, str]:
        """Status and text of one of the task service that fails."""
        return self.fails(TASKS, method, **fields)

    def container(self, root: Path, *words: str, identity: str = "", options: Any = None, **more: Any) -> str:
        """Put one on record that runs `words`; `more` is of its process."""
        identity = identity or f"c{secrets.token_hex(8)}"
        process = {"args": list(words), "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
        spec = {
            "ociVersion": "1.0.2",
            "process": {**process, **more},
            "root": {"path": str(root)},
            "mounts": MOUNTS,
            "linux": {"namespaces": [{"type": one} for one in ("pid", "ipc", "uts", "mount", "network")]},
        }
        given = message("containerd.services.containers.v1.Container")(id=identity, spec=packed_spec(spec))
        given.runtime.name = "io.containerd.runc.v2"
        if options is not None:
            given.runtime.options.CopyFrom(options)
        self.ask(CONTAINERS, "Create", container=given)
        return identity

    def end(self, name: str) -> None:
        """Of a container's process, if it has not ended, and of its record."""
        if self.task("Get", container_id=name).process.status != STOPPED:
            try:
                self.task("Kill", container_id=name, signal=9)
            except grpc.RpcError as error:  # it has ended by itself meanwhile
                assert error.code() is grpc.StatusCode.NOT_FOUND  # noqa: PT017  # any other is a failure
        self.task("Wait", container_id=name)
        self.task("Delete", container_id=name)
        self.ask(CONTAINERS, "Delete", id=name)

    def events(self, *filters: str) -> list[tuple[str, Any]]:
        """What happens from now on: topic and body; filled by a thread that ends with the stream."""
        seen: list[tuple[str, Any]] = []
        asked = list(filters) or ["topic~=|^/tasks/|"]
        stream = self.stream(EVENTS, "Subscribe", limit=None, filters=asked)

        def follow() -> None:
            try:
                seen.extend((one.topic, unpacked(one.event)) for one in stream)
            except grpc.RpcError:
                return

        threading.Thread(target=follow, daemon=True).start()
        return seen

    def heard(self, *filters: str) -> list[tuple[str, Any]]:
        """As `events`; when this returns, they come. Some are of its own, with a topic below /own/."""
        mark = f"/own/{secrets.token_hex(4)}"
        seen = self.events(*filters, f"topic=={mark}")

        def told() -> bool:
            event = message("google.protobuf.Any")(type_url="containerd.events.NamespaceDelete", value=b"")
            self.ask(EVENTS, "Publish", topic=mark, event=event)
            return any(topic == mark for topic, _ in seen)

        wait_until("events come", told)
        return seen


@contextlib.contextmanager
def serving(directory: Path, *words: str, **more: Any) -> Iterator[tuple[Daemon, Api]]:
    """A daemon in a directory, and a client of its API."""
    with running(directory, *words, **more) as daemon:
        socket = daemon.state / "containerd.sock"
        wait_until("the socket is there", socket.exists)
        api = Api.at(socket)
        with contextlib.closing(api.channel):
            yield daemon, api


def refusal(call: Any) -> tuple[str, str]:
    """Status and text of what fails."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value.code().name, raised.value.details()


def packed_spec(spec: dict[str, Any], kind: str = "Spec") -> Any:
    """JSON as clients pack it."""
    url = f"types.containerd.io/opencontainers/runtime-spec/1/{kind}"
    return message("google.protobuf.Any")(type_url=url, value=json.dumps(spec).encode())


def unpacked(event: Any) -> Any:
    """What an Any has in it, by its bare name."""
    return message(event.type_url).FromString(event.value)


def _types(service: str, method: str) -> tuple[Any, Any]:
    found = interface.methods(service)[method]
    return message(found.input_type.full_name), message(found.output_type.full_name)


def _packed(body: Any) -> bytes:
    found: bytes = body.SerializeToString()
    return found
