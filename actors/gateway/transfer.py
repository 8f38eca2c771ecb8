"""Transfers: pull, push, import, export and tag, as clients of containerd 2 ask for them.

Each is one operation that there is: a transfer's process, a job, or a record. Progress, logins and archives
go over streams (streaming.py). When the client goes, or this process, the work is given up by whoever does
it, as it is for any other client; what has arrived is kept.
"""

import concurrent.futures
import contextlib
import dataclasses
import queue
import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from actors import messages as m
from actors.actor import Actor
from actors.gateway.records import Records
from actors.gateway.stream_bytes import Piped, arriving, leaving
from actors.gateway.streaming import Stream, Streams, unpacked
from actors.gateway.transfer_progress import Told
from actors.gateway.translation import Asking, labels_of
from storage.reference import Reference
from transport.errors import RemoteError
from transport.grpc.interface import message
from transport.grpc.server import Call, Service
from transport.registry.endpoint import DOCKER_HUB_ENDPOINT, DOCKER_HUB_NAMES

_TYPES: Final = "containerd.types.transfer"
LOGIN_SECONDS: Final = 10.0  # that a client has to say its login; then it goes without
ATTEMPTS: Final = 3  # times that a transfer's process may be gone before it could be asked
CREDENTIALS, REFRESH, HEADER = 1, 2, 3


class Transfer(Asking, Service):
    """containerd.services.transfer.v1.Transfer."""

    name = "containerd.services.transfer.v1.Transfer"

    def __init__(self, actor: Actor, records: Records, streams: Streams) -> None:
        super().__init__(actor, records)
        self._streams = streams

    def transfer(self, request: Any, call: Call) -> Any:
        """What source and destination together mean."""
        source, target = unpacked(request.source), unpacked(request.destination)
        works = {
            ("OCIRegistry", "ImageStore"): self._pull,
            ("ImageStore", "OCIRegistry"): self._push,
            ("ImageStore", "ImageStore"): self._tag,
            ("ImageStore", "ImageExportStream"): self._export,
            ("ImageImportStream", "ImageStore"): self._import,
        }
        kinds = source.DESCRIPTOR.name, target.DESCRIPTOR.name
        if kinds not in works:
            raise RemoteError("not_implemented", f"nothing is transferred from {kinds[0]} to {kinds[1]}")
        with self._claimed(call, request.options.progress_stream) as progress:
            works[kinds](source, target, call, Told(progress))
        return message("google.protobuf.Empty")()

    @contextlib.contextmanager
    def _claimed(self, call: Call, name: str) -> Iterator[Stream | None]:
        """A stream that may be left out."""
        if not name:
            yield None
            return
        with self._streams.claimed(call.namespace, name) as stream:
            yield stream

    # Registries

    def _pull(self, registry: Any, store: Any, call: Call, told: Told) -> None:
        told.status(f"Resolving from OCI Registry ({registry.reference})")
        platforms = _platforms(store)
        for platform in platforms or [""]:
            wish = m.TransfersStart(
                call.namespace,
                "pull",
                registry.reference,
                platform=platform,
                snapshotter=next((one.snapshotter for one in store.unpacks), ""),
                all_platforms=not platforms,
            )
            image = self._transferred(wish, registry, call, told)
        target = image["target"]
        for name in _names(store):
            self.ask(call, m.ImagesPut(call.namespace, name, target, labels_of(store), exact=True))
            told.named("saved", name, target["digest"], target["size"])
        told.status(f"Completed pull from OCI Registry ({registry.reference})")

    def _push(self, store: Any, registry: Any, call: Call, told: Told) -> None:
        told.status(f"Pushing to OCI Registry ({registry.reference})")
        wish = m.TransfersStart(
            call.namespace, "push", store.name, target=registry.reference, platform=_one_platform(store)
        )
        self._transferred(wish, registry, call, told)
        told.status(f"Completed push to OCI Registry ({registry.reference})")

    def _transferred(self, wish: Any, registry: Any, call: Call, told: Told) -> Any:
        """The result of a transfer, with the login that the client has for the registry."""
        resolver, host = registry.resolver, Reference.parse(registry.reference).domain
        _refuse(resolver.headers, "headers for a registry")
        _refuse(resolver.host_dir, "a client's directory of hosts (the daemon's is registry.hosts)")
        with self._claimed(call, resolver.auth_stream) as stream:
            login = _login(stream, host, registry.reference)
        started = {"brings_login": bool(login), "plain_http": resolver.default_scheme == "http"}
        start = _replaced(wish, **started)
        attach = m.TransfersAttach({host: login} if login else {})
        for attempt in range(ATTEMPTS):
            try:
                return self._followed(start, attach, call, told)
            except RemoteError as error:
                if not str(error).startswith("no actor is named puller/") or attempt + 1 == ATTEMPTS:
                    raise
        raise AssertionError("it returns or raises")

    def _followed(self, start: Any, attach: Any, call: Call, told: Told) -> Any:
        """The result of work that clients attach to, which is given up when the client goes."""
        actor = self.ask(call, start)["actor"]
        future = self.actor.following(attach, told.part, to=actor)
        call.when_over(lambda: _cancel(future))
        try:
            result = future.result()
        except concurrent.futures.CancelledError as error:
            raise RemoteError("unavailable", "the client has gone") from error
        if isinstance(result, RemoteError):
            raise result
        return result

    # Archives

    def _import(self, given: Any, store: Any, call: Call, told: Told) -> None:
        _refuse(given.force_compress, "compressing layers of an archive")
        _refuse(store.name, "a name for an archive's index")
        told.status("Importing")
        unpacks = list(store.unpacks)
        args = {
            "unpack": bool(unpacks),
            "platform": _written(unpacks[0].platform) if unpacks else "",
            **_naming(store),
        }
        found = self._piped("load", "source", args, (arriving, given.stream), call, told)
        for image in found["images"]:
            told.named("saved", image["name"], image["digest"], 0)
        told.status("Completed import")

    def _export(self, store: Any, given: Any, call: Call, told: Told) -> None:
        told.status("Exporting")
        args = {
            "images": [*_names(store), *store.export_images],
            "platform": _one_platform(given),
            "all_platforms": given.all_platforms,
            "docker": not given.skip_compatibility_manifest,
        }
        self._piped("save", "target", args, (leaving, given.stream), call, told)
        told.status("Completed export")

    def _piped(
        self,
        work: str,
        end: str,
        args: dict[str, Any],
        over: tuple[Callable[[Stream], contextlib.AbstractContextManager[Piped]], str],
        call: Call,
        told: Told,
    ) -> Any:
        """The result of a job that reads, or writes, what goes over a stream."""
        way, name = over
        with self._streams.claimed(call.namespace, name) as stream, way(stream) as piped:
            start = m.JobsStart(call.namespace, secrets.token_hex(8), work, {**args, end: piped.lent})
            return self._followed(start, m.JobsAttach(), call, told)

    # Names

    def _tag(self, source: Any, target: Any, call: Call, _: Told) -> None:
        image = self.ask(call, m.ImagesGet(call.namespace, source.name, exact=True))
        for name in _names(target):
            body = m.ImagesPut(call.namespace, name, image["target"], labels_of(target), exact=True)
            self.ask(call, body)


def _cancel(future: concurrent.futures.Future[Any]) -> None:
    future.cancel()


def _refuse(wanted: object, what: str) -> None:
    if wanted:
        raise RemoteError("not_implemented", f"transfer: {what} cannot be given")


def _replaced(wish: m.TransfersStart, *, brings_login: bool, plain_http: bool) -> m.TransfersStart:
    return dataclasses.replace(wish, brings_login=brings_login, plain_http=plain_http)


def _names(store: Any) -> list[str]:
    """The names that an image store means. Raises RemoteError: none, or one that only begins names."""
    further = list(store.extra_references)
    _refuse(any(one.is_prefix or one.add_digest for one in further), "names by their beginning or digest")
    names = [name for name in (store.name, *(one.name for one in further)) if name]
    if not names and not store.export_images:
        raise RemoteError("invalid_argument", "transfer: an image store needs the name of an image")
    return names


def _naming(store: Any) -> dict[str, Any]:
    """How images of an archive are named, as the job has it."""
    prefixes = [one for one in store.extra_references if one.is_prefix]
    _refuse(len(prefixes) != len(store.extra_references) or len(prefixes) > 1, "several names for an archive")
    if not prefixes:
        return {"unnamed": False}
    [one] = prefixes
    naming = {"unnamed": one.add_digest, "digests": one.add_digest and not one.skip_named_digest}
    return {"base": one.name, "only_base": not one.allow_overwrite, **naming}


def _platforms(found: Any) -> list[str]:
    return [_written(one) for one in found.platforms]


def _one_platform(found: Any) -> str:
    """The one that is named, empty without any. Raises RemoteError for several."""
    platforms = _platforms(found)
    _refuse(len(platforms) > 1, "more than one platform")
    return platforms[0] if platforms else ""


def _written(platform: Any) -> str:
    """As people write it."""
    return "/".join(part for part in (platform.os, platform.architecture, platform.variant) if part)


def _login(stream: Stream | None, host: str, reference: str) -> dict[str, str]:
    """The client's login for a registry, which it is asked for; empty without one. Raises RemoteError."""
    if stream is None:
        return {}
    asked = DOCKER_HUB_ENDPOINT if host in DOCKER_HUB_NAMES else host
    stream.send(message(f"{_TYPES}.AuthRequest")(host=asked, reference=reference))
    given = _answer(stream)
    if given is None:
        return {}
    if given.DESCRIPTOR.full_name != f"{_TYPES}.AuthResponse":
        raise RemoteError("invalid_argument", "transfer: what came instead of a login is none")
    _refuse(given.authType == HEADER, "an authorization header")
    kinds = {CREDENTIALS: "password", REFRESH: "identity_token"}
    if given.authType not in kinds or not given.secret:
        return {}
    login = {kinds[given.authType]: given.secret, "username": given.username}
    return {key: value for key, value in login.items() if value}


def _answer(stream: Stream) -> Any:
    """The client's next message, None when it says nothing: one without a login may keep silent."""
    found: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def wait() -> None:
        try:
            found.put(stream.receive())
        except RemoteError as error:
            found.put(error)

    threading.Thread(target=wait, daemon=True, name="grpc-login").start()
    try:
        given = found.get(timeout=LOGIN_SECONDS)
    except queue.Empty:
        return None
    if isinstance(given, RemoteError):
        raise given
    return given
