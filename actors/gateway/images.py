"""Images: names, exactly as clients write them, and what they point at."""

import contextlib
import time
from functools import partial
from typing import Any

from actors import messages as m
from actors.gateway.translation import Asking, descriptor, descriptor_map, labels_of, put_time
from actors.paging import everything
from storage.filters import parse_filters
from transport.errors import RemoteError
from transport.grpc.interface import message
from transport.grpc.server import Call, Service

_PACKAGE = "containerd.services.images.v1"


class Images(Asking, Service):
    """containerd.services.images.v1.Images."""

    name = f"{_PACKAGE}.Images"

    def get(self, request: Any, call: Call) -> Any:
        """By its exact name."""
        return message(f"{_PACKAGE}.GetImageResponse")(image=_image(self._get(call, request.name)))

    def list(self, request: Any, call: Call) -> Any:
        """Those that pass a filter."""
        filters = parse_filters(list(request.filters))
        found = everything(partial(self.ask, call), m.ImagesList(call.namespace), "images")
        kept = [_image(one) for one in found if filters.match(partial(_field, one))]
        return message(f"{_PACKAGE}.ListImagesResponse")(images=kept)

    def create(self, request: Any, call: Call) -> Any:
        """A name that there is already is refused."""
        given, began = request.image, time.time_ns()
        _refuse_no_target(given.target)
        body = m.ImagesCreate(call.namespace, given.name, descriptor_map(given.target), labels_of(given))
        found = self.ask_once(call, body, lambda: self._since(began, call, given.name))
        return message(f"{_PACKAGE}.CreateImageResponse")(image=_image(found))

    def _since(self, began: int, call: Call, name: str) -> Any:
        """The image of this name, if it was made since then (nanoseconds)."""
        with contextlib.suppress(RemoteError):
            found = self._get(call, name)
            return found if found["created_at"] >= began else None
        return None

    def update(self, request: Any, call: Call) -> Any:
        """Target and labels; with a mask, only what it names: `target`, `labels` or `labels.KEY`."""
        given, paths = request.image, list(request.update_mask.paths)
        if not paths or "target" in paths:
            self._get(call, given.name)
            _refuse_no_target(given.target)
        fields = [path for path in paths if path != "target"]
        body = m.ImagesUpdate(
            call.namespace,
            given.name,
            descriptor_map(given.target) if not paths or "target" in paths else None,
            dict(given.labels) if not paths or fields else None,
            fields,
        )
        return message(f"{_PACKAGE}.UpdateImageResponse")(image=_image(self.ask(call, body)))

    def delete(self, request: Any, call: Call) -> Any:
        """Even one that a container uses: clients of this API keep that in order by themselves."""
        self._get(call, request.name)
        body = m.ImagesDelete(call.namespace, request.name, force=True, sync=request.sync, exact=True)
        known = m.ImagesGet(call.namespace, request.name, exact=True)
        self.ask_once(call, body, lambda: self.is_gone(call, known, collected=request.sync))
        return message("google.protobuf.Empty")()

    def _get(self, call: Call, name: str) -> Any:
        return self.ask(call, m.ImagesGet(call.namespace, name, exact=True))


def _refuse_no_target(target: Any) -> None:
    """What points at nothing. Raises RemoteError."""
    if target.size <= 0:
        raise RemoteError("invalid_argument", "target.size of an image must be more than 0")
    if not target.media_type:
        raise RemoteError("invalid_argument", "target.media_type of an image must be set")


def _image(found: dict[str, Any]) -> Any:
    image = message(f"{_PACKAGE}.Image")(
        name=found["name"], labels=found["labels"], target=descriptor(found["target"])
    )
    put_time(image.created_at, found["created_at"])
    put_time(image.updated_at, found["updated_at"])
    return image


def _field(image: dict[str, Any], path: Any) -> str | None:
    """Fields that a filter may name: name, target.digest, target.mediatype, labels."""
    match tuple(path):
        case ("name",):
            return str(image["name"])
        case ("target", "digest"):
            return str(image["target"]["digest"])
        case ("target", "mediatype"):
            return str(image["target"].get("mediaType", ""))
        case ("labels", *rest):
            found: str | None = image["labels"].get(".".join(rest))
            return found
    return None
