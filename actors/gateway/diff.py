"""Layers into snapshots and back, through the mounts that a client has been given for them.

A layer is not written through a mount, but into the directory that the mount would write to, in a process of
its own, as actors/unpacking.py does; whatever is not a snapshot's overlay or bind mount is refused.
"""

import contextlib
import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from actors import messages as m
from actors.applying import Appliers, Layer
from actors.gateway.translation import Asking, descriptor, labels_of
from actors.layers import stored
from actors.linux.openat2 import open_in_root
from storage.content import ContentStore, IngestWriter
from storage.digest import Digest
from storage.errors import StorageError
from storage.image import media_types
from storage.layer.compress import compressed
from storage.layer.diff import write_layer
from storage.layer.limits import Limits
from transport.errors import RemoteError
from transport.grpc.interface import message
from transport.grpc.server import Call, Service

_PACKAGE: Final = "containerd.services.diff.v1"
_UNCOMPRESSED: Final = "containerd.io/uncompressed"
COMPRESSION: Final = {
    "": "gzip",
    media_types.OCI_LAYER: "none",
    media_types.OCI_LAYER_GZIP: "gzip",
    media_types.OCI_LAYER_ZSTD: "zstd",
    media_types.DOCKER_LAYER: "none",
    media_types.DOCKER_LAYER_GZIP: "gzip",
}
"""How a layer of a media type is written; of the empty one, as containerd does."""


class Diff(Asking, Service):
    """containerd.services.diff.v1.Diff."""

    name = f"{_PACKAGE}.Diff"

    def apply(self, request: Any, call: Call) -> Any:
        """Unpack a blob of the namespace into an empty snapshot, or one that is a copy of its parent."""
        place = _Place.of(request.mounts)
        if place.upper is None:
            raise RemoteError("invalid_argument", "mounts: a layer needs one that can be written to")
        self.ask(call, m.ContentInfo(request.diff.digest, call.namespace))
        layer = Layer(place.upper, self._limits(), place.overlay, place.lowers)

        def look() -> None:
            if not call.active:
                raise StorageError("the client has gone")

        store = ContentStore(self.actor.settings.content, reader=True)
        with _said(), stored(store, Digest.parse(request.diff.digest)) as blob, Appliers() as appliers:
            applied = appliers.apply(layer, blob, lambda: place.lowers, look).applied
        found = {"mediaType": media_types.OCI_LAYER, "digest": applied.diff_id, "size": applied.size}
        return message(f"{_PACKAGE}.ApplyResponse")(applied=descriptor(found))

    def _limits(self) -> Limits:
        settings = self.actor.settings
        return Limits(
            entries=settings.layers_entries,
            header_bytes=settings.layers_header_bytes,
            total_bytes=settings.layers_total_bytes,
            ratio=settings.layers_ratio,
        )

    def diff(self, request: Any, call: Call) -> Any:
        """What `right` has beyond `left`, as a blob: the one layer that is on top of left's."""
        compression = COMPRESSION.get(request.media_type)
        if compression is None:
            text = f"media type {request.media_type!r} cannot be written: use one of an OCI layer"
            raise RemoteError("not_implemented", text)
        left, right = _Place.of(request.left), _Place.of(request.right)
        top = right.above(left)
        with _said():
            found = self._store(call, request, top, compression)
        found["mediaType"] = request.media_type or media_types.OCI_LAYER_GZIP
        return message(f"{_PACKAGE}.DiffResponse")(diff=descriptor(found))

    def _store(self, call: Call, request: Any, top: Path, compression: str) -> dict[str, Any]:
        """Write the layer to an ingest, and have it committed with its diff ID as a label."""
        with self._ingest(call, request.ref) as (ref, path):
            with IngestWriter(path, limit=self.actor.settings.layers_total_bytes) as writer:
                writer.start_at(0)
                diff_id = _written(top, compression, _while_wanted(call, writer.write))
                digest, size = str(writer.finish()), writer.offset
            labels = {**labels_of(request), _UNCOMPRESSED: diff_id}
            self.ask(call, m.ContentCommit(ref, digest, size, call.namespace, labels, call.lease))
        return {"digest": digest, "size": size}

    @contextlib.contextmanager
    def _ingest(self, call: Call, ref: str) -> Iterator[tuple[str, Path]]:
        """Where to write, by the client's name for it or one of ours, with which nobody could go on later."""
        name = ref or f"diff-{secrets.token_hex(8)}"
        found = self.ask(call, m.ContentOpen(name, namespace=call.namespace, lease=call.lease))
        try:
            yield name, Path(found["path"])
        except BaseException:
            if not ref:
                self.actor.asking(m.ContentAbort(name, call.namespace))
            raise


def _while_wanted(call: Call, write: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """As `write`, for as long as the client is there: no deadline ends what is done here."""

    def wanted(data: bytes) -> None:
        if not call.active:
            raise StorageError("the client has gone")
        write(data)

    return wanted


def _written(top: Path, compression: str, write: Callable[[bytes], object]) -> str:
    """Write a layer; its diff ID."""
    hasher = hashlib.sha256()
    with compressed(compression, write) as pack:

        def put(data: bytes) -> None:
            hasher.update(data)
            pack(data)

        write_layer(top, put, open_in_root=open_in_root)
    return f"sha256:{hasher.hexdigest()}"


@contextlib.contextmanager
def _said() -> Iterator[None]:
    """Errors of the storage as answers."""
    try:
        yield
    except StorageError as error:
        raise RemoteError(getattr(error, "code", "internal"), str(error)) from error


@dataclass(frozen=True, slots=True)
class _Place:
    """What a snapshot's mounts say: where it is written to, if it may be; what is below, nearest first."""

    upper: Path | None
    lowers: tuple[Path, ...]
    overlay: bool

    @classmethod
    def of(cls, mounts: Iterable[Any]) -> Self:
        """Read them. Raises RemoteError for what no snapshotter here has given."""
        found = list(mounts)
        if not found:
            return cls(None, (), overlay=False)
        if len(found) > 1 or found[0].type not in ("overlay", "bind"):
            kinds = ", ".join(one.type for one in found)[:128]
            raise RemoteError("invalid_argument", f"mounts: not one of overlay or bind, but {kinds!r}")
        options = list(found[0].options)
        if found[0].type == "overlay":
            return cls._overlay(options)
        source = _directory(found[0].source)
        return cls(None, (source,), overlay=False) if "ro" in options else cls(source, (), overlay=False)

    @classmethod
    def _overlay(cls, options: list[str]) -> Self:
        fields = {name: value for name, _, value in (one.partition("=") for one in options)}
        upper = _directory(fields["upperdir"]) if "upperdir" in fields else None
        lowers = tuple(_directory(one) for one in fields.get("lowerdir", "").split(":") if one)
        return cls(upper, lowers, overlay=True)

    def above(self, left: "_Place") -> Path:
        """The one layer that this has on top of those of `left`. Raises RemoteError: it is not so."""
        own = self.layers()
        if own and own[1:] in (left.layers(), left.directories()):
            return own[0]
        raise RemoteError("not_implemented", "diff: only a snapshot and its parent can be compared")

    def directories(self) -> tuple[Path, ...]:
        """All of them, nearest first."""
        return self.lowers if self.upper is None else (self.upper, *self.lowers)

    def layers(self) -> tuple[Path, ...]:
        """All directories, nearest first; an empty one that nothing can be written to is none."""
        layers = self.directories()
        nothing = len(layers) == 1 and not any(layers[0].iterdir())
        return () if nothing and self.upper is None else layers


def _directory(path: str) -> Path:
    found = Path(path)
    if not found.is_absolute() or ".." in found.parts or not found.is_dir():
        raise RemoteError("invalid_argument", f"mounts: {path[:256]!r} is not a directory")
    return found
