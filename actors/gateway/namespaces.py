"""Namespaces and leases."""

import secrets
import time
from functools import partial
from typing import Any

from actors import messages as m
from actors.gateway.translation import Asking, labels_of, put_time
from actors.paging import everything
from transport.errors import RemoteError
from transport.grpc.interface import message
from transport.grpc.server import Call, Service

_EMPTY = "google.protobuf.Empty"


class Namespaces(Asking, Service):
    """containerd.services.namespaces.v1.Namespaces."""

    name = "containerd.services.namespaces.v1.Namespaces"

    def get(self, request: Any, call: Call) -> Any:
        """One that nobody has written to has no labels; it is no error."""
        found = {one["name"]: one["labels"] for one in self._all(call)}
        return self._answer("Get", request.name, found.get(request.name, {}))

    def list(self, _: Any, call: Call) -> Any:
        """All."""
        make = message("containerd.services.namespaces.v1.Namespace")
        found = [make(name=one["name"], labels=one["labels"]) for one in self._all(call)]
        return message("containerd.services.namespaces.v1.ListNamespacesResponse")(namespaces=found)

    def create(self, request: Any, call: Call) -> Any:
        """With labels."""
        given = request.namespace
        if given.name in self._names(call):
            raise RemoteError("already_exists", f'namespace "{given.name}": already exists')
        labels = labels_of(given)
        body, made = m.NamespacesCreate(given.name, labels), {"name": given.name, "labels": labels}
        found = self.ask_once(call, body, lambda: made if given.name in self._names(call) else None)
        return self._answer("Create", found["name"], found["labels"])

    def update(self, request: Any, call: Call) -> Any:
        """Its labels; with a mask, only those that it names (`labels.KEY`)."""
        given = request.namespace
        body = m.NamespacesUpdate(given.name, labels_of(given), list(request.update_mask.paths))
        found = self.ask(call, body)
        return self._answer("Update", found["name"], found["labels"])

    def delete(self, request: Any, call: Call) -> Any:
        """Only an empty one."""
        if request.name not in self._names(call):
            raise RemoteError("not_found", f'namespace "{request.name}": not found')
        body = m.NamespacesDelete(request.name)
        self.ask_once(call, body, lambda: request.name not in self._names(call) or None)
        return message(_EMPTY)()

    def _names(self, call: Call) -> set[str]:
        return {one["name"] for one in self._all(call)}

    def _all(self, call: Call) -> Any:
        return self.ask(call, m.NamespacesList())["namespaces"]

    @staticmethod
    def _answer(verb: str, name: str, labels: dict[str, str]) -> Any:
        answer = message(f"containerd.services.namespaces.v1.{verb}NamespaceResponse")()
        answer.namespace.name = name
        answer.namespace.labels.update(labels)
        return answer


class Leases(Asking, Service):
    """containerd.services.leases.v1.Leases."""

    name = "containerd.services.leases.v1.Leases"

    def create(self, request: Any, call: Call) -> Any:
        """Empty ids are chosen."""
        began, name = time.time_ns(), request.id or f"{time.time_ns()}-{secrets.token_hex(2)}"
        body = m.LeasesCreate(call.namespace, name, labels_of(request))
        found = self.ask_once(call, body, lambda: self._since(began, call, name))
        return message("containerd.services.leases.v1.CreateResponse")(lease=_lease(found))

    def delete(self, request: Any, call: Call) -> Any:
        """With sync, what it alone held is gone when this is answered. One that is not there is an error."""
        if not self._listed(call, request.id):
            raise RemoteError("not_found", f'lease "{request.id}": not found')
        body = m.LeasesDelete(call.namespace, request.id, request.sync, strict=True)
        self.ask_once(call, body, lambda: self._is_gone(call, request))
        return message(_EMPTY)()

    def _is_gone(self, call: Call, request: Any) -> bool | None:
        if self._listed(call, request.id):
            return None
        self.ask(call, m.LeasesDelete(call.namespace, request.id, request.sync))  # what it held may not be
        return True

    def _since(self, began: int, call: Call, name: str) -> Any:
        """The lease of this id, if it was made since then (nanoseconds)."""
        return next((one for one in self._listed(call, name) if one["created_at"] >= began), None)

    def _listed(self, call: Call, name: str) -> Any:
        """None or one. Not by a filter: an id may have a quotation mark in it."""
        leases = everything(partial(self.ask, call), m.LeasesList(call.namespace), "leases")
        return [one for one in leases if one["id"] == name]

    def list(self, request: Any, call: Call) -> Any:
        """Those that pass a filter."""
        body = m.LeasesList(call.namespace, list(request.filters))
        found = everything(partial(self.ask, call), body, "leases")
        return message("containerd.services.leases.v1.ListResponse")(leases=[_lease(one) for one in found])

    def add_resource(self, request: Any, call: Call) -> Any:
        """Hold it."""
        held = m.LeaseResource(request.resource.type, request.resource.id)
        self.ask(call, m.LeasesAddResource(call.namespace, request.id, [held]))
        return message(_EMPTY)()

    def delete_resource(self, request: Any, call: Call) -> Any:
        """Let go of it."""
        held = m.LeaseResource(request.resource.type, request.resource.id)
        self.ask(call, m.LeasesDeleteResource(call.namespace, request.id, held))
        return message(_EMPTY)()

    def list_resources(self, request: Any, call: Call) -> Any:
        """What it holds."""
        found = self.ask(call, m.LeasesListResources(call.namespace, request.id))["resources"]
        make = message("containerd.services.leases.v1.Resource")
        return message("containerd.services.leases.v1.ListResourcesResponse")(
            resources=[make(id=one["id"], type=one["type"]) for one in found]
        )


def _lease(found: dict[str, Any]) -> Any:
    lease = message("containerd.services.leases.v1.Lease")(id=found["id"], labels=found["labels"])
    put_time(lease.created_at, found["created_at"])
    return lease
