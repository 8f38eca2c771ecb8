"""What metadata answers about what is on record: by the metadata actor, and where its database is only read.

Each takes the store and a request, and gives what the operation answers, or raises its StorageError.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import msgspec

from actors import messages as m
from storage.errors import NotFoundError
from storage.filters import parse_filters
from storage.metadata import Container, Content, Image, Lease, Metadata, Task
from storage.metadata.containers import is_retired
from storage.reference import Reference


def image_name(body: m.ImagesGet | m.ImagesPut | m.ImagesDelete) -> str:
    """The canonical name that is meant."""
    return body.name if body.exact else str(Reference.parse(body.name))


def answer(store: Metadata, body: Any) -> Any:
    """What the operation of a request answers, as it travels. Raises KeyError for one that is not here."""
    found = LOOKUPS[type(body)](store, body)
    return found if isinstance(body, m.ContainersGet | m.ContainersList) else msgspec.to_builtins(found)


def image(store: Metadata, body: m.ImagesGet) -> Image:
    """An image by its name as people type it, or exactly."""
    return store.images.get(body.namespace, image_name(body))


def images(store: Metadata, body: m.ImagesList) -> dict[str, Any]:
    """All images of a namespace, or a page of them."""
    if body.page:
        found, following = store.images.page(body.namespace, body.after)
        return {"images": found, "next": following}
    return {"images": store.images.list(body.namespace)}


def container(store: Metadata, body: m.ContainersGet) -> dict[str, Any]:
    """One container and its task."""
    found = store.containers.get(body.namespace, body.id)
    try:
        task = store.tasks.get(found.namespace, found.id)
    except NotFoundError:  # nothing has been reported yet
        task = None
    if is_retired(found, task) and not body.retired:
        raise NotFoundError(f'container "{body.id}" not found in namespace "{body.namespace}"')
    return joined(found, task)


def containers(store: Metadata, body: m.ContainersList) -> dict[str, Any]:
    """The containers of one namespace, or of all, each with its task; or a page of them."""
    found, following = _found(body, store.containers.list_with_tasks, store.containers.page)
    wanted = [(one, task) for one, task in found if body.retired or not is_retired(one, task)]
    described = _briefly if body.brief else joined
    return {"containers": [described(one, task) for one, task in wanted], **following}


def _found(
    body: m.ContainersList | m.LeasesList, whole: Callable[..., Any], page: Callable[..., Any]
) -> tuple[Any, dict[str, str]]:
    """All of a namespace or of every one; or as much as a page holds, and what that is followed by."""
    if not body.page:
        return whole(body.namespace or None), {}
    found, after = page(body.namespace or None, body.after)
    return found, {"next": after}


def _briefly(found: Container, task: Task | None) -> dict[str, Any]:
    options = {key: value for key, value in found.options.items() if key in ("entrypoint", "args")}
    options |= {"foreign": True} if found.options.get("foreign") else {}
    return joined(replace(found, options=options, labels={}), task)


def namespaces(store: Metadata, _: m.NamespacesList) -> dict[str, Any]:
    """All namespaces."""
    return {"namespaces": store.namespaces.list()}


def leases(store: Metadata, body: m.LeasesList) -> dict[str, Any]:
    """The leases of a namespace, or all; or a page of them."""
    filters = parse_filters(body.filters)
    found, following = _found(body, store.leases.list, store.leases.page)
    return {"leases": [one for one in found if filters.match(partial(_lease_field, one))], **following}


def content(store: Metadata, body: m.ContentsGet) -> Content:
    """One blob, as a namespace knows it."""
    return store.contents.get(body.namespace, body.digest)


LOOKUPS: Final[Mapping[type[Any], Callable[[Metadata, Any], Any]]] = {
    m.ImagesGet: image,
    m.ImagesList: images,
    m.ContainersGet: container,
    m.ContainersList: containers,
    m.NamespacesList: namespaces,
    m.LeasesList: leases,
    m.ContentsGet: content,
}
"""By the request."""


def joined(found: Container, task: Task | None) -> dict[str, Any]:
    """A container and its task, as they are answered."""
    fields: dict[str, Any] = msgspec.to_builtins(found)
    fields["task"] = msgspec.to_builtins(task)
    fields["actor"] = f"container/{found.namespace}/{found.id}"
    return fields


def _lease_field(lease: Lease, path: tuple[str, ...]) -> str | None:
    if path == ("id",):
        return lease.id
    return lease.labels.get(".".join(path[1:])) if path[0] == "labels" else None
