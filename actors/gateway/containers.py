"""Containers on record, as their clients describe them: a specification and options that we only keep.

What of such a record is ours (id, image, labels, snapshot) stands in its columns, so that `actr` shows it;
the rest is its option `foreign`, as `kept` makes it.
"""

import base64
import contextlib
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

from actors import messages as m
from actors.gateway import runc_options
from actors.gateway.translation import Asking, labels_of, put_time
from actors.paging import everything
from storage.filters import parse_filters
from transport.errors import RemoteError
from transport.grpc.interface import message
from transport.grpc.server import Call, Service

_PACKAGE: Final = "containerd.services.containers.v1"
RUNTIME: Final = "io.containerd.runc.v2"
PREFIX: Final = "extensions."
STARTING: Final = 0.005  # seconds until an actor that is not there yet is asked again
MUTABLE: Final = ("labels", "spec", "extensions", "image", "snapshotkey")
BY_KEY: Final = ("labels", "extensions")


class Containers(Asking, Service):
    """containerd.services.containers.v1.Containers."""

    name = f"{_PACKAGE}.Containers"

    def get(self, request: Any, call: Call) -> Any:
        """By its whole id."""
        found = record(self, call, request.id)
        return message(f"{_PACKAGE}.GetContainerResponse")(container=_container(found))

    def list(self, request: Any, call: Call) -> Any:
        """Those that pass a filter."""
        return message(f"{_PACKAGE}.ListContainersResponse")(containers=list(self._matching(request, call)))

    def list_stream(self, request: Any, call: Call) -> Iterator[Any]:
        """The same, each by itself."""
        make = message(f"{_PACKAGE}.ListContainerMessage")
        for found in self._matching(request, call):
            yield make(container=found)

    def _matching(self, request: Any, call: Call) -> Iterator[Any]:
        filters = parse_filters(list(request.filters))
        for found in everything(partial(self.ask, call), m.ContainersList(call.namespace), "containers"):
            if filters.match(partial(_field, found)):
                yield _container(found)

    def create(self, request: Any, call: Call) -> Any:
        """Put it on record."""
        given = request.container
        if not given.id:
            raise RemoteError("invalid_argument", "container id is empty")
        _refuse_incomplete(given)
        body = m.ContainersCreate(
            call.namespace,
            given.image,
            id=given.id,
            options={"foreign": kept(given)},
            labels=labels_of(given),
            runtime=runc_options.program(given.runtime.options),
            snapshotter=given.snapshotter or "",
            snapshot_key=given.snapshot_key,
        )
        began = time.time_ns()
        self.ask_once(call, body, lambda: self._since(began, call, given.id))
        return message(f"{_PACKAGE}.CreateContainerResponse")(
            container=_container(record(self, call, given.id))
        )

    def _since(self, began: int, call: Call, identity: str) -> dict[str, Any] | None:
        """The record of this id, if it was made since then (nanoseconds)."""
        with contextlib.suppress(RemoteError):
            found = record(self, call, identity)
            return found if found["created_at"] >= began else None
        return None

    def update(self, request: Any, call: Call) -> Any:
        """What the mask names; without one, all that can change. Runtime and snapshotter cannot."""
        given, paths = request.container, list(request.update_mask.paths) or list(MUTABLE)
        unknown = [one for one in paths if one not in MUTABLE and one.partition(".")[0] not in BY_KEY]
        if unknown:
            raise RemoteError("invalid_argument", f"cannot update {unknown[0][:128]!r} of a container")
        known = record(self, call, given.id)
        if not request.update_mask.paths:
            _refuse_other(given, _container(known))
        if "spec" in paths:
            _refuse_without_spec(given)
        self.ask(call, _change(call.namespace, known, given, paths))
        return message(f"{_PACKAGE}.UpdateContainerResponse")(
            container=_container(record(self, call, given.id))
        )

    def delete(self, request: Any, call: Call) -> Any:
        """Not while it runs. Of several who ask at the same time, one has done it."""
        found, body = record(self, call, request.id), m.ContainersRemove(strict=True)
        self.do_once(
            call,
            lambda: ask_container(self, call, request.id, body, found=found),
            lambda: self._is_removed(call, found),
        )
        return message("google.protobuf.Empty")()

    def _is_removed(self, call: Call, found: Mapping[str, Any]) -> bool | None:
        """Whether the container of that record is gone; None while it is there."""
        try:
            there: dict[str, Any] = record(self, call, found["id"])
        except RemoteError as error:
            return True if error.code == "not_found" else None
        return there["created_at"] != found["created_at"] or None


def ask_container(
    service: Asking,
    call: Call,
    identity: str,
    body: Any,
    limit: float | None = None,
    found: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What a container's actor answers; one that is on record has an actor, or is about to have one.

    `found` is that record, where it has just been looked up.

    Raises:
        RemoteError: what it answered; not_found once the container is no longer on record.
    """
    within = call.limit if limit is None else limit
    found = record(service, call, identity) if found is None else found
    until, created = time.monotonic() + within, found["created_at"]
    while found["created_at"] == created:
        try:
            answer: dict[str, Any] = service.actor.call(body, to=found["actor"], limit=within)
        except RemoteError as error:
            if str(error) != f"no actor is named {found['actor']}":
                raise
            if time.monotonic() > until:
                text = f"container {identity} is on record, but has no actor yet: try again"
                raise RemoteError("unavailable", text) from error
            time.sleep(STARTING)
            found = record(service, call, identity)
        else:
            return answer
    raise _no_container(call, identity)


def record(service: Asking, call: Call, identity: str) -> dict[str, Any]:
    """The record of exactly this id. Raises RemoteError not_found."""
    found: dict[str, Any] = service.ask(call, m.ContainersGet(call.namespace, identity))
    if found["id"] != identity:
        raise _no_container(call, identity)
    return found


def _refuse_incomplete(given: Any) -> None:
    """What could never run is not put on record."""
    _refuse_without_spec(given)
    if not given.runtime.name:
        raise RemoteError("invalid_argument", f"container {given.id}: runtime.name must be set")
    if given.snapshot_key and not given.snapshotter:
        text = f"container {given.id}: snapshotter must be set where snapshot_key is"
        raise RemoteError("invalid_argument", text)


def _refuse_without_spec(given: Any) -> None:
    if not given.HasField("spec"):
        raise RemoteError("invalid_argument", f"container {given.id}: spec must be set")


def _refuse_other(given: Any, known: Any) -> None:
    """Who writes the whole record is told what of it would not change."""
    same = {"runtime.name": given.runtime.name == known.runtime.name}
    same["snapshotter"] = given.snapshotter == known.snapshotter
    for name, kept in same.items():
        if not kept:
            raise RemoteError("invalid_argument", f"container {given.id}: {name} cannot be changed")


def _no_container(call: Call, identity: str) -> RemoteError:
    return RemoteError("not_found", f'container "{identity}" in namespace "{call.namespace}": not found')


def kept(given: Any) -> dict[str, Any]:
    """What of a container is only kept for its client."""
    return {
        "runtime": given.runtime.name or RUNTIME,
        "options": _plain(given.runtime.options),
        "root": runc_options.root(given.runtime.options),
        "spec": _plain(given.spec),
        "snapshotter": given.snapshotter,
        "extensions": {name: _plain(value) for name, value in given.extensions.items()},
    }


def _plain(packed: Any) -> dict[str, str]:
    return {"type_url": packed.type_url, "value": base64.b64encode(packed.value).decode()}


def packed_from(plain: Mapping[str, str]) -> Any:
    """The other way."""
    return message("google.protobuf.Any")(type_url=plain["type_url"], value=base64.b64decode(plain["value"]))


def _change(namespace: str, known: Mapping[str, Any], given: Any, paths: list[str]) -> m.ContainersUpdate:
    """Only what is named: somebody else may be changing the rest. Raises RemoteError."""
    fields = [path for path in paths if path.partition(".")[0] == "labels"]
    if len(fields) < len(paths) and not known["options"].get("foreign"):
        text = f"container {known['id']} was not created by this API: only its labels can be updated"
        raise RemoteError("failed_precondition", text)
    described: dict[str, Any] = {"spec": _plain(given.spec)} if "spec" in paths else {}
    extensions = {name: _plain(value) for name, value in given.extensions.items()}
    if "extensions" in paths:
        described["extensions"] = extensions
    named = [path.removeprefix(PREFIX) for path in paths if path.startswith(PREFIX)]
    return m.ContainersUpdate(
        namespace,
        known["id"],
        labels=dict(given.labels) if fields else None,
        image=given.image if "image" in paths else None,
        snapshot_key=given.snapshot_key if "snapshotkey" in paths else None,
        fields=fields,
        described=described or None,
        extensions={key: extensions.get(key, {"type_url": "", "value": ""}) for key in named} or None,
    )


def _container(found: Mapping[str, Any]) -> Any:
    foreign = found["options"].get("foreign")
    answer = message(f"{_PACKAGE}.Container")(
        id=found["id"],
        labels=found["labels"],
        image=found["image"],
        snapshotter=found["snapshotter"] if foreign is None else foreign["snapshotter"],
        snapshot_key=found["snapshot_key"],
    )
    put_time(answer.created_at, found["created_at"])
    put_time(answer.updated_at, found["updated_at"])
    if foreign is None:  # one that was created through the other API
        answer.runtime.name = RUNTIME
        return answer
    answer.runtime.name = foreign["runtime"]
    for target, name in ((answer.runtime.options, "options"), (answer.spec, "spec")):
        if foreign[name]["type_url"]:
            target.type_url = foreign[name]["type_url"]
            target.value = base64.b64decode(foreign[name]["value"])
    for name, value in foreign["extensions"].items():
        answer.extensions[name].CopyFrom(packed_from(value))
    return answer


def _field(found: Mapping[str, Any], path: Any) -> str | None:
    """Fields that a filter may name: id, image, runtime.name, snapshotter, snapshot_key, labels."""
    match tuple(path):
        case ("id" | "image" | "snapshotter" | "snapshot_key" as name,):
            return str(found[name])
        case ("runtime", "name"):
            return str((found["options"].get("foreign") or {}).get("runtime", RUNTIME))
        case ("labels", *rest):
            value: str | None = found["labels"].get(".".join(rest))
            return value
    return None
