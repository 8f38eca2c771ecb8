"""What the services have in common: asking an actor for a call, and values of theirs from values of ours."""

import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from actors import messages as m
from actors.actor import Actor
from actors.gateway.records import ASK, Records
from transport.errors import RemoteError
from transport.grpc.interface import message
from transport.grpc.server import Call

SECOND: Final = 10**9
PAUSE: Final = 0.05  # seconds until somebody who is away is asked again


class Asking:
    """Base of the services: `ask` puts a question to an actor, within the call's deadline."""

    def __init__(self, actor: Actor, records: Records) -> None:
        self.actor = actor
        self._records = records

    def ask(self, call: Call, body: Any, *, to: str = "") -> Any:
        """The answer, read here if it can be. In a thread of the server. Raises RemoteError."""
        found = self._records.answer(body)
        return self.ask_owner(call, body, to=to) if found is ASK else found

    def ask_owner(self, call: Call, body: Any, *, to: str = "") -> Any:
        """The answer of whom it concerns, who has heard already what others have told him just before."""
        return self.actor.call(body, to=to, limit=call.limit)

    def ask_once(self, call: Call, body: Any, found: Callable[[], Any], *, to: str = "") -> Any:
        """The answer to what may not be done twice. Raises RemoteError.

        When somebody died over it, nobody knows whether it was done: then `found` gives what there is of it,
        as the answer, or None, and it is asked again.
        """
        return self.do_once(call, lambda: self.ask(call, body, to=to), found)

    def do_once(self, call: Call, ask: Callable[[], Any], found: Callable[[], Any]) -> Any:
        """The same of a question that `ask` puts. Raises RemoteError."""
        until, again = time.monotonic() + call.limit, False
        while True:
            try:
                return ask()
            except RemoteError as error:
                open_end = error.retryable or (again and error.code in ("already_exists", "not_found"))
                if open_end and (there := found()) is not None:
                    return there
                if not error.retryable or time.monotonic() > until:
                    raise
            again = True
            time.sleep(PAUSE)

    def is_gone(self, call: Call, known: Any, *, collected: bool = False) -> bool | None:
        """Whether there is nothing any more to answer `known` with, for `ask_once`.

        With `collected`, what it alone held is gone too when this returns.
        """
        try:
            self.ask(call, known)
        except RemoteError as error:
            if error.code != "not_found":
                return None
        else:
            return None
        if collected:
            self.ask(call, m.GcRun())
        return True

    def appear(self, call: Call) -> None:
        """Have its namespace on record, before something is put there of which metadata does not hear."""
        if call.lease:  # which is there
            return
        known = [one["name"] for one in self.ask(call, m.NamespacesList())["namespaces"]]
        if call.namespace not in known:
            self.ask(call, m.NamespacesEnsure(call.namespace))

    def announce(self, call: Call, topic: str, **body: str) -> None:
        """Publish an event of what has been done for a client; nobody waits until that is journalled."""
        now = time.time_ns()
        key = f"{topic}:{call.namespace}:{now}:{secrets.token_hex(4)}"
        self.actor.asking(m.EventsPublish(call.namespace, topic, key, body, now))


def parsed(value: bytes, what: str) -> dict[str, Any]:
    """A JSON object that a client has packed. Raises RemoteError: it is none."""
    try:
        found = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise RemoteError("invalid_argument", f"{what} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise RemoteError("invalid_argument", f"{what} is not an object")
    return found


def labels_of(given: Any) -> dict[str, str]:
    """The labels of what a client makes: one without a value is none, as after an update that empties it."""
    return {key: value for key, value in given.labels.items() if value}


def put_time(target: Any, nanoseconds: int) -> None:
    """A google.protobuf.Timestamp; nothing for a time that is not known."""
    if nanoseconds:
        target.seconds, target.nanos = divmod(nanoseconds, SECOND)


def descriptor(found: Mapping[str, Any]) -> Any:
    """containerd.types.Descriptor from a descriptor (OCI image-spec, descriptor.md)."""
    return message("containerd.types.Descriptor")(
        media_type=found.get("mediaType", ""),
        digest=found["digest"],
        size=found.get("size", 0),
        annotations=found.get("annotations") or {},
    )


def descriptor_map(target: Any) -> dict[str, Any]:
    """The other way."""
    found = {"mediaType": target.media_type, "digest": target.digest, "size": target.size}
    return {**found, "annotations": dict(target.annotations)} if target.annotations else found


def mounts(found: Iterable[Mapping[str, Any]]) -> list[Any]:
    """containerd.types.Mount of each; a base directory that we would change into is written out in full."""
    make = message("containerd.types.Mount")
    return [make(type=one["type"], source=one["source"], options=_absolute(one)) for one in found]


def _absolute(mount: Mapping[str, Any]) -> list[str]:
    base = mount.get("base")
    if not base:
        return list(mount["options"])
    found = []
    for option in mount["options"]:
        name, equals, value = option.partition("=")
        if name in ("lowerdir", "upperdir", "workdir"):
            value = ":".join(part if part.startswith("/") else f"{base}/{part}" for part in value.split(":"))
        found.append(f"{name}{equals}{value}")
    return found


def pages(found: list[Any], size: int, wrap: Callable[[list[Any]], Any]) -> Iterable[Any]:
    """A list as a stream of messages with at most `size` of it in each."""
    for start in range(0, len(found), size):
        yield wrap(found[start : start + size])
