"""Events: ours as theirs, with the types that their clients know."""

import contextlib
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

from actors import messages as m
from actors.actor import Actor
from actors.gateway.containers import packed_from
from actors.gateway.records import Records
from actors.gateway.translation import SECOND, Asking, put_time
from actors.paging import everything
from storage.filters import parse_filters
from storage.names import check_identifier
from transport.client import Client, Message, NotRunningError
from transport.errors import RemoteError
from transport.grpc.interface import message
from transport.grpc.server import WORKERS, Call, Service

_PACKAGE: Final = "containerd.services.events.v1"
PATIENCE: Final = 3600.0  # seconds that a journal may be away before a stream ends
TYPES: Final = {
    "/tasks/create": "containerd.events.TaskCreate",
    "/tasks/start": "containerd.events.TaskStart",
    "/tasks/exit": "containerd.events.TaskExit",
    "/tasks/delete": "containerd.events.TaskDelete",
    "/tasks/oom": "containerd.events.TaskOOM",
    "/tasks/paused": "containerd.events.TaskPaused",
    "/tasks/resumed": "containerd.events.TaskResumed",
    "/tasks/exec-added": "containerd.events.TaskExecAdded",
    "/tasks/exec-started": "containerd.events.TaskExecStarted",
    "/containers/create": "containerd.events.ContainerCreate",
    "/containers/update": "containerd.events.ContainerUpdate",
    "/containers/delete": "containerd.events.ContainerDelete",
    "/images/create": "containerd.services.images.v1.ImageCreate",
    "/images/update": "containerd.services.images.v1.ImageUpdate",
    "/images/delete": "containerd.services.images.v1.ImageDelete",
    "/snapshot/prepare": "containerd.events.SnapshotPrepare",
    "/snapshot/commit": "containerd.events.SnapshotCommit",
    "/snapshot/remove": "containerd.events.SnapshotRemove",
    "/content/delete": "containerd.events.ContentDelete",
    "/namespaces/create": "containerd.events.NamespaceCreate",
    "/namespaces/update": "containerd.events.NamespaceUpdate",
    "/namespaces/delete": "containerd.events.NamespaceDelete",
}
"""By topic. What is neither here nor a client's own is ours alone, and not shown to these clients."""
NEVER: Final = 2**62  # no event has such a number
LATEST: Final = 2**63 - 1  # nanoseconds: what the journal can hold
EXIT: Final = "/tasks/exit"
MOST: Final = WORKERS // 2  # who follow at once
UNKNOWN_STATUS: Final = 255  # of a process of which nobody can know how it ended


class Events(Asking, Service):
    """containerd.services.events.v1.Events."""

    name = f"{_PACKAGE}.Events"

    def __init__(self, actor: Actor, records: Records) -> None:
        """Nobody follows yet."""
        super().__init__(actor, records)
        self._places = threading.BoundedSemaphore(MOST)

    def subscribe(self, request: Any, call: Call) -> Iterator[Any]:
        """What happens from now on and passes a filter, until the client goes.

        Before it, the exits of which no client has taken note yet: it may have been away, or we.
        """
        filters = parse_filters(list(request.filters))
        told = set()
        address = str(self.actor.settings.router_socket)
        with self._place(), _while_wanted(call), contextlib.closing(Client(address)) as client:
            call.when_over(client.hang_up)
            last = _last(client)
            for found in self._unheard(call):
                told.add(_exit_key(found))
                if filters.match(partial(_field, found)):
                    yield _envelope(found)
            for found in self._follow(client, last):
                fresh = found["topic"] != EXIT or _exit_key(found) not in told
                if fresh and _is_theirs(found) and filters.match(partial(_field, found)):
                    yield _envelope(found)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """Each holds a thread for as long as it lives: some are left for everybody else."""
        if not self._places.acquire(blocking=False):
            text = f"{MOST} clients follow events already: end some of them"
            raise RemoteError("overloaded", text)
        try:
            yield
        finally:
            self._places.release()

    def _unheard(self, call: Call) -> Iterator[dict[str, Any]]:
        """As events, the ends of processes that clients of this API run and have not deleted.

        Nobody who has an exec sleeps.
        """
        actors = self.ask_owner(call, m.Actors(memory=False))["actors"]
        asleep = {one["name"] for one in actors if one["state"] == "asleep"}
        states = []
        for one in everything(partial(self.ask_owner, call), m.ContainersList(brief=True), "containers"):
            ended = (one["task"] or {}).get("status") == "stopped"
            if one["options"].get("foreign") and (ended or one["actor"] not in asleep):
                states.append((one, self.actor.begin(m.TasksState(), to=one["actor"], limit=call.limit)))
        for one, state in states:
            with contextlib.suppress(RemoteError):  # it is on its way out
                yield from _exits(one, state())

    @staticmethod
    def _follow(client: Client, after: int) -> Iterator[dict[str, Any]]:
        """Events of the journal as they come; a crash of it or of the router is waited out."""
        last = {"after": after}

        def body() -> dict[str, Any]:
            return {"after": last["after"], "follow": True}

        for said in client.stream("events.subscribe", body(), to="events", resume=body, patience=PATIENCE):
            event = _event(said)
            if event is not None:
                last["after"] = said.seq
                yield event

    def publish(self, request: Any, call: Call) -> Any:
        """An event of the client's own."""
        self._publish(call, call.namespace, request, time.time_ns())
        return message("google.protobuf.Empty")()

    def forward(self, request: Any, call: Call) -> Any:
        """One that happened elsewhere, as it is."""
        given = request.envelope
        check_identifier("namespace", given.namespace)
        self._publish(call, given.namespace, given, _told_time(given))
        return message("google.protobuf.Empty")()

    def _publish(self, call: Call, namespace: str, given: Any, at: int) -> None:
        check_topic(given.topic)
        body = {"type_url": given.event.type_url, "value": given.event.value.hex()}
        key = f"{given.topic}:{namespace}:{at}:{secrets.token_hex(4)}"
        self.ask(call, m.EventsPublish(namespace, given.topic, key, body, at))


@contextlib.contextmanager
def _while_wanted(call: Call) -> Iterator[None]:
    """A client that goes hangs our own up, whatever is asked just then: that is the end, and no error.

    Raises:
        RemoteError: the router is away, and has not come back.
    """
    try:
        yield
    except NotRunningError as error:
        if call.active:
            raise RemoteError("unavailable", str(error)) from error


def check_topic(topic: str) -> None:
    """Identifiers, each after a slash. Raises RemoteError, InvalidArgumentError."""
    first, *parts = topic.split("/")
    if first or not parts:
        raise RemoteError("invalid_argument", f"topic {topic[:128]!r} must start with '/'")
    for part in parts:
        check_identifier("part of the topic", part)


def _told_time(given: Any) -> int:
    """When it happened, in nanoseconds. Raises RemoteError: that is not said, or can be no time of ours."""
    at = given.timestamp.seconds * SECOND + given.timestamp.nanos
    if not given.HasField("timestamp") or not 0 <= at <= LATEST:
        raise RemoteError("invalid_argument", "timestamp of a forwarded event must be from 1970 to 2262")
    return int(at)


def _last(client: Client) -> int:
    """The number of the youngest event: the end of a stream of which no part is wanted."""
    body: Any = {}
    for said in client.stream("events.subscribe", {"after": NEVER}, to="events"):
        body = said.body
    return int(body["last"])


def _exits(one: Mapping[str, Any], state: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Ends that are durable, of execs before that of their container; whether they are in the journal or not.

    An actor hears that its event is there a moment after that was told to those who followed.
    """
    for name, process in state["execs"].items():
        if process["given"] and process["phase"] == "exited" and process["exited_at"]:
            yield _as_exit(one, name, process)
    if state["phase"] == "exited" and state["exited_at"] == (one["task"] or {}).get("exited_at"):
        yield _as_exit(one, one["id"], state)


def _as_exit(one: Mapping[str, Any], name: str, ended: Mapping[str, Any]) -> dict[str, Any]:
    body = {
        "container_id": one["id"],
        "id": name,
        "pid": ended["pid"],
        "exit_status": ended["exit_code"] if ended.get("known", True) else None,
        "exited_at": ended["exited_at"],
    }
    return {"namespace": one["namespace"], "topic": EXIT, "at": ended["exited_at"], "body": body}


def _exit_key(event: Mapping[str, Any]) -> tuple[Any, ...]:
    body = event["body"]
    return event["namespace"], body.get("container_id"), body.get("id"), body.get("exited_at")


def _event(said: Message) -> dict[str, Any] | None:
    body = said.body if isinstance(said.body, dict) else {}
    return body if said.kind == "event" and "topic" in body else None


def _is_theirs(found: Mapping[str, Any]) -> bool:
    return found["topic"] in TYPES or "type_url" in found["body"]


def _envelope(found: Mapping[str, Any]) -> Any:
    envelope = message(f"{_PACKAGE}.Envelope")(namespace=found["namespace"], topic=found["topic"])
    put_time(envelope.timestamp, found["at"])
    if "type_url" in found["body"]:  # as a client has published it
        envelope.event.type_url = found["body"]["type_url"]
        envelope.event.value = bytes.fromhex(found["body"]["value"])
        return envelope
    envelope.event.type_url = TYPES[found["topic"]]
    envelope.event.value = filled(envelope.event.type_url, found["body"]).SerializeToString()
    return envelope


def filled(name: str, body: Mapping[str, Any]) -> Any:
    """A message with those of its fields that `body` has."""
    found = message(name)()
    for field in found.DESCRIPTOR.fields:
        value = body.get(field.name)
        if field.name == "exit_status":
            found.exit_status = UNKNOWN_STATUS if value is None else value
        elif value is None:
            continue
        elif field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp":
            put_time(getattr(found, field.name), value)
        elif field.name == "runtime" and isinstance(value, str):
            found.runtime.name = value
            if "runtime_options" in body:
                found.runtime.options.CopyFrom(packed_from(body["runtime_options"]))
        elif isinstance(value, dict) and not field.message_type.GetOptions().map_entry:
            getattr(found, field.name).CopyFrom(filled(field.message_type.full_name, value))
        elif isinstance(value, dict):
            getattr(found, field.name).update({str(key): str(one) for key, one in value.items()})
        elif isinstance(value, str | int | bool):
            setattr(found, field.name, value)
    return found


def _field(event: Mapping[str, Any], path: Any) -> str | None:
    """Fields that a filter may name: topic, namespace, event.FIELD."""
    match tuple(path):
        case ("topic",) | ("namespace",):
            return str(event[path[0]])
        case ("event", name):
            value = event["body"].get(name)
            return None if value is None else str(value)
    return None
